package graphdriver // import "github.com/docker/docker/daemon/graphdriver"

import (
	"errors"

	"github.com/docker/docker/pkg/plugingetter"
)

// Drivers as plugins need a package that Debian leaves out; overlay2 is none.
func lookupPlugin(string, plugingetter.PluginGetter, Options) (Driver, error) {
	return nil, errors.New("graphdriver plugins are left out of this build")
}
