// Package quota stands in for moby's, which Debian's package of moby's sources leaves out. The driver asks for it on
// xfs with project quotas only; elsewhere moby's own answers as this one does.
package quota

import "errors"

// Quota limits a directory.
type Quota struct{ Size uint64 }

// Control would set limits.
type Control struct{}

var errNotSupported = errors.New("filesystem does not support, or has not enabled quotas")

// NewControl says that there are none.
func NewControl(string) (*Control, error) { return nil, errNotSupported }

// SetQuota is never reached: there is no Control.
func (*Control) SetQuota(string, Quota) error { return errNotSupported }
