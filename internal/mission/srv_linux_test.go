package mission

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

const recordsName = "_api._tcp.example.com."

// records are SRV records that lead to backends with these numbers.
func records(numbers ...int) (lines []string) {
	for _, i := range numbers {
		lines = append(lines, fmt.Sprintf("SRV 10 5 400%d host%d.internal.example.", i, i))
	}
	return lines
}

// inTurn asks as often as it takes to see that backends with these numbers, and no others, answer in turn.
func (s *site) inTurn(t *testing.T, numbers ...int) error {
	t.Helper()
	var want []string
	for _, i := range numbers {
		want = append(want, fmt.Sprint("up", i))
	}
	for range 3 {
		var got []string
		for range want {
			r := s.get(t, "/")
			if r.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d", r.StatusCode)
			}
			got = append(got, r.seen(t).Name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("they are %v", got)
		}
	}
	return nil
}

func (s *site) comeInTurn(t *testing.T, numbers ...int) {
	t.Helper()
	poll(t, fmt.Sprint(numbers, " in turn"), func() error { return s.inTurn(t, numbers...) })
}

// checkSRV: the file names no resolver, so it is the system's, which is the DNS server of this machine.
func checkSRV(t *testing.T, s *site) {
	for i := range 3 {
		newBackend(t, fmt.Sprint("up", i), fmt.Sprint("127.0.0.", 10+i, ":400", i))
		s.dns.set(fmt.Sprintf("host%d.internal.example.", i), fmt.Sprint("A 127.0.0.", 10+i))
	}
	s.up(t) // before there are any records
	if got := s.status(t); got != http.StatusServiceUnavailable {
		t.Errorf("without records: %d", got)
	}
	s.dns.set(recordsName, records(0, 1)...)
	s.comeInTurn(t, 0, 1)
	// An answer is good for a minute.
	asked, before := s.dns.questions()
	s.dns.set(recordsName, records(1, 2)...)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(70 * time.Second); ; <-tick.C {
		err := s.inTurn(t, 0, 1)
		again, at := s.dns.questions()
		if again > asked {
			if gap := at.Sub(before); gap < 59*time.Second {
				t.Errorf("asked again after %v, want 1m", gap)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatal("nobody asks again")
		}
	}
	s.comeInTurn(t, 1, 2)
	s.load(t, s.Text+"# edited\n")
	asked, _ = s.dns.questions()
	s.comeInTurn(t, 1, 2)
	if n, _ := s.dns.questions(); n != asked {
		t.Errorf("%d questions after an edit that changes nothing", n-asked)
	}
	followRecords(t, s)
}

// followRecords: the same source in the words that have a place for how long an answer is good, so that more can be seen.
func followRecords(t *testing.T, s *site) {
	asked, _ := s.dns.questions()
	s.edit(t, "to _api._tcp.example.com", "dynamic srv {\nname _api._tcp.example.com\nrefresh 50ms\n}")
	if n, _ := s.dns.questions(); n != asked {
		t.Errorf("%d questions at load", n-asked)
	}
	s.comeInTurn(t, 1, 2)
	s.dns.set(recordsName, records(0, 1, 2)...)
	s.comeInTurn(t, 0, 1, 2)
	s.dns.set(recordsName, records(2)...)
	s.comeInTurn(t, 2)
	// While the DNS is down, what was known goes on.
	s.dns.fail(true)
	asked, _ = s.dns.questions()
	poll(t, "a question in vain", func() error {
		must(t, s.inTurn(t, 2))
		if n, _ := s.dns.questions(); n == asked {
			return errors.New("nobody has asked")
		}
		return nil
	})
	must(t, s.inTurn(t, 2))
	s.dns.fail(false)
	s.dns.set(recordsName) // the name is gone
	s.becomes(t, http.StatusServiceUnavailable)
	s.dns.set(recordsName, records(0, 2)...)
	s.comeInTurn(t, 0, 2)
}
