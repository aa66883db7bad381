package handlers

import "net/http"

// ErrorEnd answers with the status of the error being handled, and no body. It
// is the end of a chain of error routes: what runs when none of them has
// answered, or a terminal one did not.
func ErrorEnd(w http.ResponseWriter, r *http.Request) error {
	status := StatusOf(Of(r).Err())
	if status < 100 || status > 999 {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	return nil
}
