//go:build race

package encode

// raceEnabled: under the race detector pools drop values on purpose.
const raceEnabled = true
