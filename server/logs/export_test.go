package logs

// Quiet reports whether no closed output goes on working.
func (sw *Switch) Quiet() bool {
	sw.outputs.mu.Lock()
	defer sw.outputs.mu.Unlock()
	for _, done := range sw.outputs.ending {
		select {
		case <-done:
		default:
			return false
		}
	}
	return true
}
