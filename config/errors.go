package config

import "fmt"

// The statuses an Error can carry; the same numbers as in HTTP.
const (
	statusBadRequest         = 400
	statusNotFound           = 404
	statusConflict           = 409
	statusPreconditionFailed = 412
)

// Error says why a document could not be read or edited as asked. It is the only error type that NewDoc and the methods of
// Doc return.
type Error struct {
	// Status is the HTTP status that fits: 400 (malformed path, index, @id or If-Match, or nested too deeply), 404 (no such
	// place), 409 (the key exists already) or 412 (the document was changed meanwhile).
	Status int
	// Pointer is the JSON Pointer of the place in the document, as far as it could be walked.
	Pointer string
	// Msg is the message for the client.
	Msg string
}

// Error returns Msg.
func (e *Error) Error() string { return e.Msg }

// SyntaxError says where a text stops being JSON, or where it passes a limit.
type SyntaxError struct {
	// Offset is the number of bytes read when the error was noticed, as encoding/json counts: the offending byte is the
	// Offset-th of the text.
	Offset int64
	// Line and Column are the place of the offending byte, both from 1; Column counts characters.
	Line, Column int
	// Msg says what is wrong, in the words of encoding/json where it has words for it.
	Msg string
}

// Error returns Msg and the offset.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s, at offset %d", e.Msg, e.Offset) }

// Warning is something in a text that is accepted, but hardly meant.
type Warning struct {
	// Pointer is the JSON Pointer of the place.
	Pointer string
	// Line and Column are its place in the text, both from 1; Column counts characters.
	Line, Column int
	// Message says what is odd.
	Message string
}
