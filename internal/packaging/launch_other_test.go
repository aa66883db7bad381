//go:build !linux

package packaging

import "errors"

// jobName is the variable that makes the test binary start a job in its own place.
const jobName = "SLUICE_PACKAGING_JOB"

// become needs Linux.
func become(string) error { return errors.ErrUnsupported }
