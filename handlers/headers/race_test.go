//go:build race

package headers

// raceEnabled: under the race detector pools drop values on purpose.
const raceEnabled = true
