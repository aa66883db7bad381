package fileserver

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/sluiceproxy/sluice/handlers"
)

func itoa(i int) string { return strconv.Itoa(i) }

// status is the configured status of responses.
type status struct {
	text  text
	given bool
	fixed int // 0: not known at load
}

func (c *compiler) status(pointer, s string) status {
	out := status{text: c.text(pointer, s), given: s != ""}
	if out.given && !out.text.isVar {
		n, err := parseStatus(out.text.fixed)
		if err != nil {
			c.env.Warn(pointer, "every file will be answered with status 500: "+err.Error())
		}
		out.fixed = n
	}
	return out
}

func parseStatus(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("status_code %q is not a number", s)
	}
	if n < 100 || n > 999 {
		return 0, fmt.Errorf("status_code %d is not in the range 100 to 999", n)
	}
	return n, nil
}

// of returns what replaces the status of a response, 0 if nothing does.
func (s *status) of(x *handlers.Exchange) (int, error) {
	if s.fixed != 0 {
		return s.fixed, nil
	}
	n, text := 0, ""
	if s.given {
		text = s.text.of(x, "")
	} else if err := x.Err(); err != nil {
		text = strconv.Itoa(handlers.StatusOf(err))
	} else {
		return 0, nil
	}
	n, err := parseStatus(text)
	if err != nil {
		return 0, handlers.NewError(http.StatusInternalServerError, err)
	}
	return n, nil
}
