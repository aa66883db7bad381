package ratelimit

import (
	"net/http"
	"strconv"
	"strings"
)

// Names of header fields as net/http writes them.
const (
	fieldPolicy    = "Ratelimit-Policy"
	fieldRateLimit = "Ratelimit"
	fieldLimit     = "Ratelimit-Limit"
	fieldRemaining = "Ratelimit-Remaining"
	fieldReset     = "Ratelimit-Reset"
)

// tell writes the header fields about what was taken. Those that handlers before
// this one have written stay.
func (h *handler) tell(header http.Header, all []taken) {
	if len(all) == 0 || h.headers == noHeaders {
		return
	}
	if h.headers == draft06 {
		tellLeast(header, all)
		return
	}
	policy, item := all[0].zone.policy, all[0].item()
	for i := range all[1:] {
		policy += ", " + all[i+1].zone.policy
		item += ", " + all[i+1].item()
	}
	header[fieldPolicy] = append(header[fieldPolicy], policy)
	header[fieldRateLimit] = append(header[fieldRateLimit], item)
}

// item is the zone's item of the field RateLimit (draft 10, section 4.1): what is
// left, and in how many seconds it will be all again.
func (t *taken) item() string {
	buf := make([]byte, 0, len(t.zone.item)+32)
	buf = append(buf, t.zone.item...)
	buf = strconv.AppendInt(buf, t.left, 10)
	buf = append(buf, ";t="...)
	buf = strconv.AppendInt(buf, seconds(t.reset), 10)
	return string(buf)
}

// tellLeast writes the fields of draft 06, which are about one limit: the one
// that has the least left.
func tellLeast(header http.Header, all []taken) {
	least := &all[0]
	policy := least.zone.policy
	for i := range all[1:] {
		t := &all[i+1]
		policy += ", " + t.zone.policy
		if t.left < least.left || !t.ok {
			least = t
		}
	}
	header[fieldPolicy] = append(header[fieldPolicy], policy)
	if before, err := strconv.ParseInt(header.Get(fieldRemaining), 10, 64); err == nil && before < least.left {
		return // a handler before this one has less left
	}
	header[fieldLimit] = []string{strconv.FormatInt(int64(least.zone.limit.events), 10)}
	header[fieldRemaining] = []string{strconv.FormatInt(least.left, 10)}
	header[fieldReset] = []string{strconv.FormatInt(seconds(least.reset), 10)}
}

// structuredString writes a name as a string of RFC 9651, section 3.3.3. What
// such a string cannot hold becomes an underscore.
func structuredString(name string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range name {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r > '~':
			b.WriteByte('_')
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
