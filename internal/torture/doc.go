// Package torture holds tests of the whole binary under faults and load: kills,
// hostile input, many clients at once, thousands of edits. It has no code of
// its own.
package torture
