package dynamic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		s := NewSets(
			func(dial string) string { events = append(events, "+"+dial); return dial },
			func(u string) { events = append(events, "-"+u) },
			func(us []string) string { return strings.Join(us, ",") })
		step := func(key, dials, want string) *List {
			t.Helper()
			events = nil
			list := &List{Key: key, Dials: strings.Fields(dials)}
			if got, want := s.Of(list), strings.ReplaceAll(dials, " ", ","); got != want {
				t.Errorf("%s gives %s", dials, got)
			}
			slices.Sort(events)
			if got := strings.Join(events, " "); got != want {
				t.Errorf("%s: %q happened, want %q", dials, got, want)
			}
			return list
		}
		step("k", "a b a", "+a +b")
		list := step("k", "a b a", "")
		if s.last.Load().list.Load() != list {
			t.Error("an equal list is not taken for the one asked for last")
		}
		step("k", "b c", "+c -a")
		step("other", "c d", "+d")
		step("k", "", "-b")
		step("k", "e", "+e")
		<-time.After(unused + time.Second)
		step("third", "f", "+f -c -d") // "k" was asked for last
		for i := range 3 * maxSets {
			<-time.After(time.Millisecond)
			s.Of(&List{Key: fmt.Sprint(i), Dials: []string{fmt.Sprint("x", i)}})
		}
		if len(s.sets) != maxSets || len(s.items) != maxSets {
			t.Errorf("%d sets and %d items are kept", len(s.sets), len(s.items))
		}
		s.Close()
		if len(s.items) != 0 {
			t.Errorf("%d items are open after the end", len(s.items))
		}
		step("late", "g", "+g -g")
	})
}
