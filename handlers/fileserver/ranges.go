package fileserver

import (
	"crypto/rand"
	"errors"
	"io"
	"strconv"
	"strings"
)

// byteRange is a part of a file.
type byteRange struct{ start, length int64 }

func (r byteRange) contentRange(size int64) string {
	b := append(make([]byte, 0, 64), "bytes "...)
	b = strconv.AppendInt(b, r.start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, r.start+r.length-1, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, size, 10))
}

var (
	errRange  = errors.New("invalid range")
	errBeyond = errors.New("invalid range: nothing of it is in the file")
)

// maxRanges is how many ranges a request may have; the whole file is the answer
// to more of them, as it is to ranges that together are longer than the file.
const maxRanges = 100

// ranges returns the parts of the file that are asked for; none means all of it.
// An error means that the request cannot be satisfied.
func (c *content) ranges() ([]byteRange, error) {
	line := first(c.r.Header["Range"])
	if line == "" || !c.safe() || c.size == 0 || !c.sameVersion() {
		return nil, nil
	}
	unit, specs, ok := strings.Cut(line, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return nil, nil // a unit that is not known is ignored (RFC 9110, 14.2)
	}
	if strings.Count(specs, ",") >= maxRanges {
		return nil, nil
	}
	var out []byteRange
	var total int64
	empty := true
	for more := true; more; {
		var spec string
		spec, specs, more = strings.Cut(specs, ",")
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue
		}
		empty = false
		r, err := parseRange(spec, c.size)
		if err != nil {
			return nil, err
		}
		if r.length > 0 {
			out = append(out, r)
			total += r.length
		}
	}
	switch {
	case empty:
		return nil, errRange
	case len(out) == 0:
		return nil, errBeyond
	case total > c.size:
		return nil, nil
	}
	return out, nil
}

// parseRange reads "first-last", "first-" or "-length". A range of length 0 is
// outside of the file.
func parseRange(spec string, size int64) (byteRange, error) {
	from, to, ok := strings.Cut(spec, "-")
	from, to = strings.Trim(from, " \t"), strings.Trim(to, " \t")
	if !ok || from == "" && to == "" {
		return byteRange{}, errRange
	}
	if from == "" {
		n, err := position(to)
		n = min(n, size)
		return byteRange{size - n, n}, err
	}
	start, err := position(from)
	if err != nil {
		return byteRange{}, err
	}
	end := size - 1
	if to != "" {
		if end, err = position(to); err != nil || end < start {
			return byteRange{}, errRange
		}
		end = min(end, size-1)
	}
	if start >= size {
		return byteRange{}, nil
	}
	return byteRange{start, end - start + 1}, nil
}

// position reads digits. What is too large for a number is beyond any file.
func position(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errRange
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return n, nil // the largest
	}
	if err != nil {
		return 0, errRange
	}
	return n, nil
}

// several answers with more than one range (RFC 9110, 14.6).
func (c *content) several(ranges []byteRange) error {
	h := c.w.Header()
	boundary := rand.Text()
	kind := ""
	if t := first(h["Content-Type"]); t != "" {
		kind = "Content-Type: " + t + "\r\n"
	}
	heads := make([]string, len(ranges))
	end := "\r\n--" + boundary + "--\r\n"
	total := int64(len(end))
	for i, r := range ranges {
		heads[i] = "--" + boundary + "\r\nContent-Range: " + r.contentRange(c.size) + "\r\n" + kind + "\r\n"
		if i > 0 {
			heads[i] = "\r\n" + heads[i]
		}
		total += int64(len(heads[i])) + r.length
	}
	h["Content-Type"] = []string{"multipart/byteranges; boundary=" + boundary}
	return c.send(206, total, func() error {
		for i, r := range ranges {
			if _, err := io.WriteString(c.w, heads[i]); err != nil {
				return nil // there is nobody left to tell
			}
			if err := c.part(r); err != nil {
				return err
			}
		}
		_, _ = io.WriteString(c.w, end)
		return nil
	})
}
