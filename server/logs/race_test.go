//go:build race

package logs_test

// Pools drop values at random under the race detector.
const raceEnabled = true
