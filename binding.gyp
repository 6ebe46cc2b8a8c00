{
  "variables": { "sanitize%": "", "codecs%": "<!(node native/codecs.mjs)" },
  "targets": [{
    "target_name": "overlaid",
    "conditions": [
      ["OS!='linux'", { "type": "none" }, {
        "sources": [
          "native/addon.cc",
          "native/codec.cc",
          "native/copy.cc",
          "native/crc64.cc",
          "native/dir.cc",
          "native/dirent.cc",
          "native/error.cc",
          "native/fileops.cc",
          "native/fileops_args.cc",
          "native/fileops_code.cc",
          "native/fscontext.cc",
          "native/fsmount.cc",
          "native/lock.cc",
          "native/mount.cc",
          "native/mount_detached.cc",
          "native/namei.cc",
          "native/namespace.cc",
          "native/new_mount.cc",
          "native/remove_tree.cc",
          "native/resolve.cc",
          "native/statfs.cc",
          "native/statmount.cc",
          "native/statx.cc",
          "native/sums.cc",
          "native/tar_args.cc",
          "native/tar_run.cc",
          "native/tar_split.cc",
          "native/thread.cc",
          "native/tree_walk.cc",
          "native/walk.cc",
          "native/xattr.cc",
        ],
        "defines": [
          "_GNU_SOURCE",
          "NAPI_VERSION=9",
          "NODE_ADDON_API_DISABLE_DEPRECATED",
          "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
          # Without it a worker thread that is terminated in mid-call aborts the process.
          "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        ],
        "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-rtti"],
        "cflags_cc": [
          "-std=c++20", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-fvisibility=hidden",
          "-fno-exceptions",
          # As a system folder, since its headers are not clean under -Wconversion and -Wshadow.
          "-isystem <(module_root_dir)/<!(node -p \"require('node-addon-api').include_dir\")",
        ],
        "ldflags": ["-static-libstdc++", "-static-libgcc"],
        "conditions": [
          # See scripts/codecs.sh. Their names stay inside: node itself has a libzstd.
          ["codecs!=''", {
            "sources": ["native/inflate.cc", "native/zstd.cc"],
            "defines": ["OVERLAID_CODECS"],
            "cflags_cc": ["-isystem <(codecs)/include"],
            "libraries": ["<(codecs)/libisal.a", "<(codecs)/libzstd.a"],
            "ldflags": ["-Wl,--exclude-libs,libisal.a:libzstd.a"],
          }],
          ["sanitize!=''", {
            "cflags": ["-fsanitize=<(sanitize)", "-fno-omit-frame-pointer", "-g", "-O1"],
            "ldflags!": ["-static-libstdc++", "-static-libgcc"],
            "ldflags": ["-fsanitize=<(sanitize)"],
          }],
        ],
      }],
    ],
  }],
}
