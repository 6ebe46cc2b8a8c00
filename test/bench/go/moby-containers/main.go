// Containers by moby's own overlay2 driver in a process of its own, one after the other: created, mounted, unmounted,
// removed.
//
//	moby-containers HOME LAYERS WARM_UP COUNT
//
// The chain has LAYERS layers, each with one file. Prints JSON: the nanoseconds of each container, and the names below
// the first one's root.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/daemon/graphdriver/overlay2"
	"github.com/docker/docker/pkg/reexec"
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

// A chain of layers, each with a file of its own, written where the driver's diff would be unpacked.
func makeChain(driver graphdriver.Driver, home string, layers int) string {
	parent := ""
	for i := 0; i < layers; i++ {
		id := fmt.Sprintf("%064x", i)
		check(driver.Create(id, parent, nil))
		check(os.WriteFile(filepath.Join(home, id, "diff", fmt.Sprintf("file-%d", i)), []byte(strconv.Itoa(i)), 0o644))
		parent = id
	}
	return parent
}

func live(driver graphdriver.Driver, parent string, i int, look func(string)) {
	id := fmt.Sprintf("%064x", 1<<32+i)
	check(driver.CreateReadWrite(id, parent, nil))
	root, err := driver.Get(id, "")
	check(err)
	if look != nil {
		look(root.Path())
	}
	check(driver.Put(id))
	check(driver.Remove(id))
}

func main() {
	// Where the options pass a page the driver mounts in a child: this program again.
	if reexec.Init() {
		return
	}
	home, layers, warmUp, count := os.Args[1], number(os.Args[2]), number(os.Args[3]), number(os.Args[4])
	driver, err := overlay2.Init(home, nil, nil, nil)
	check(err)
	parent := makeChain(driver, home, layers)
	out := result{}
	for i := 0; i < warmUp; i++ {
		live(driver, parent, i, func(root string) {
			if i > 0 {
				return
			}
			entries, err := os.ReadDir(root)
			check(err)
			for _, entry := range entries {
				out.Names = append(out.Names, entry.Name())
			}
		})
	}
	start := time.Now()
	for i := 0; i < count; i++ {
		before := time.Now()
		live(driver, parent, warmUp+i, nil)
		out.Each = append(out.Each, time.Since(before).Nanoseconds())
	}
	out.Total = time.Since(start).Nanoseconds()
	check(driver.Cleanup())
	check(json.NewEncoder(os.Stdout).Encode(out))
}
