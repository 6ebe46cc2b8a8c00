// Each family's registration, called once per environment by addon.cc.
#pragma once

#include <napi.h>

namespace overlaid {

void RegisterBtrfs(Napi::Object exports);
void RegisterCapability(Napi::Object exports);
void RegisterCodec(Napi::Object exports);
void RegisterCopy(Napi::Object exports);
void RegisterCopyTree(Napi::Object exports);
void RegisterCrc64(Napi::Object exports);
void RegisterDevmapper(Napi::Object exports);
void RegisterDir(Napi::Object exports);
void RegisterFileops(Napi::Object exports);
void RegisterFscontext(Napi::Object exports);
void RegisterFsmount(Napi::Object exports);
void RegisterLock(Napi::Object exports);
void RegisterLoop(Napi::Object exports);
void RegisterMount(Napi::Object exports);
void RegisterMountDetached(Napi::Object exports);
void RegisterNamei(Napi::Object exports);
void RegisterNamespace(Napi::Object exports);
void RegisterQuota(Napi::Object exports);
void RegisterRemoveIdle(Napi::Object exports);
void RegisterResolve(Napi::Object exports);
void RegisterStatfs(Napi::Object exports);
void RegisterStatmount(Napi::Object exports);
void RegisterStatx(Napi::Object exports);
void RegisterSums(Napi::Object exports);
void RegisterTar(Napi::Object exports);
void RegisterUserns(Napi::Object exports);
void RegisterWalk(Napi::Object exports);
void RegisterXattr(Napi::Object exports);

// Exports `function` under its system call's name.
inline void Export(Napi::Object exports, const char* name,
                   Napi::Value (*function)(const Napi::CallbackInfo&)) {
  exports.Set(name, Napi::Function::New(exports.Env(), function, name));
}

}  // namespace overlaid
