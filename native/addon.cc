// The addon: each function is one system call (or one batch of them) as a promise. Nothing here
// knows layers.
#include <napi.h>

#include "register.h"

namespace {

Napi::Object Init(Napi::Env /*env*/, Napi::Object exports) {
  overlaid::RegisterBtrfs(exports);
  overlaid::RegisterCapability(exports);
  overlaid::RegisterCodec(exports);
  overlaid::RegisterCopy(exports);
  overlaid::RegisterCopyTree(exports);
  overlaid::RegisterCrc64(exports);
  overlaid::RegisterDevmapper(exports);
  overlaid::RegisterDir(exports);
  overlaid::RegisterFileops(exports);
  overlaid::RegisterFscontext(exports);
  overlaid::RegisterFsmount(exports);
  overlaid::RegisterLock(exports);
  overlaid::RegisterLoop(exports);
  overlaid::RegisterMount(exports);
  overlaid::RegisterMountDetached(exports);
  overlaid::RegisterNamei(exports);
  overlaid::RegisterNamespace(exports);
  overlaid::RegisterQuota(exports);
  overlaid::RegisterRemoveIdle(exports);
  overlaid::RegisterResolve(exports);
  overlaid::RegisterStatfs(exports);
  overlaid::RegisterStatmount(exports);
  overlaid::RegisterStatx(exports);
  overlaid::RegisterSums(exports);
  overlaid::RegisterTar(exports);
  overlaid::RegisterUserns(exports);
  overlaid::RegisterWalk(exports);
  overlaid::RegisterXattr(exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(overlaid, Init)
