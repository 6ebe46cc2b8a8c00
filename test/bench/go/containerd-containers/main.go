// Containers by the overlayfs snapshotter of a running containerd, over gRPC, one after the other: a snapshot prepared,
// mounted, unmounted, removed.
//
//	containerd-containers SOCKET FOLDER LAYERS WARM_UP COUNT
//
// The chain has LAYERS snapshots, each with one file. FOLDER is mounted on. Prints JSON: the nanoseconds of each
// container, and the names below the first one's root.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/containerd"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/snapshots"
)

type result struct {
	Names []string `json:"names"`
	Each  []int64  `json:"each"`
	Total int64    `json:"total"`
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

type bench struct {
	ctx    context.Context
	shots  snapshots.Snapshotter
	folder string
}

// Nothing refers to these snapshots: without the label containerd's collector would take them.
var keep = snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "bench"})

func (b bench) makeChain(layers int) string {
	parent := ""
	for i := 0; i < layers; i++ {
		key, name := fmt.Sprintf("key-%d", i), fmt.Sprintf("layer-%d", i)
		mounts, err := b.shots.Prepare(b.ctx, key, parent, keep)
		check(err)
		check(mount.All(mounts, b.folder))
		check(os.WriteFile(filepath.Join(b.folder, fmt.Sprintf("file-%d", i)), []byte(strconv.Itoa(i)), 0o644))
		check(mount.Unmount(b.folder, 0))
		check(b.shots.Commit(b.ctx, name, key, keep))
		parent = name
	}
	return parent
}

func (b bench) live(parent string, i int, look func()) {
	key := fmt.Sprintf("container-%d", i)
	mounts, err := b.shots.Prepare(b.ctx, key, parent, keep)
	check(err)
	check(mount.All(mounts, b.folder))
	if look != nil {
		look()
	}
	check(mount.Unmount(b.folder, 0))
	check(b.shots.Remove(b.ctx, key))
}

func main() {
	socket, folder := os.Args[1], os.Args[2]
	layers, warmUp, count := number(os.Args[3]), number(os.Args[4]), number(os.Args[5])
	client, err := containerd.New(socket)
	check(err)
	defer client.Close()
	check(os.MkdirAll(folder, 0o700))
	b := bench{namespaces.WithNamespace(context.Background(), "bench"), client.SnapshotService("overlayfs"), folder}
	parent := b.makeChain(layers)
	out := result{}
	b.live(parent, 0, func() {
		entries, err := os.ReadDir(folder)
		check(err)
		for _, entry := range entries {
			out.Names = append(out.Names, entry.Name())
		}
	})
	for i := 1; i < warmUp; i++ {
		b.live(parent, i, nil)
	}
	start := time.Now()
	for i := 0; i < count; i++ {
		before := time.Now()
		b.live(parent, warmUp+i, nil)
		out.Each = append(out.Each, time.Since(before).Nanoseconds())
	}
	out.Total = time.Since(start).Nanoseconds()
	check(json.NewEncoder(os.Stdout).Encode(out))
}
