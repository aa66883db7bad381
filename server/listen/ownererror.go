package listen

// OwnerError is what keeps the listener of one owner from being planned or
// opened. A failed plan may join several.
type OwnerError struct {
	// Owner is that of the Want.
	Owner string
	Err   error
}

// Error is that of Err, which names the owner and the address.
func (e *OwnerError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *OwnerError) Unwrap() error { return e.Err }
