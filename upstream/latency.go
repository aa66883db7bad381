package upstream

// Latency is how long an upstream takes to answer: from the sending of a request to the header of the response, dialling
// included.
type Latency struct {
	// P50 and P99 are the median and the 99th percentile of the last one to two minutes, in seconds, to within 6 %.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// Count is how many responses that is.
	Count int64 `json:"count"`
}
