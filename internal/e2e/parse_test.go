package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// step is one step of a transcript.
type step struct {
	line   int
	words  []string // the first line, split once: verb and rest
	header []string
	body   string
	status int
	checks []string
}

var verbs = []string{"write", "copies", "env", "start", "stop", "kill", "ended", "signal", "run", "log", "nolog", "file", "nofile", "occupy", "release"}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// parseSteps reads a transcript.
func parseSteps(text string) ([]step, error) {
	p := &lines{all: strings.Split(text, "\n")}
	var steps []step
	for {
		line, ok := p.next()
		if !ok {
			return steps, nil
		}
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := p.step(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", p.at, err)
		}
		steps = append(steps, s)
	}
}

type lines struct {
	all []string
	at  int // of the line that was read last, from 1
}

func (p *lines) next() (string, bool) {
	if p.at >= len(p.all) {
		return "", false
	}
	p.at++
	return p.all[p.at-1], true
}

// until reads lines up to one that the function recognizes, which is given too.
func (p *lines) until(stop func(string) bool) (list []string, last string, err error) {
	for {
		line, ok := p.next()
		if !ok {
			return nil, "", fmt.Errorf("the file ends in the middle of a step")
		}
		if stop(line) {
			return list, line, nil
		}
		list = append(list, line)
	}
}

func (p *lines) step(line string) (step, error) {
	verb, rest, _ := strings.Cut(line, " ")
	s := step{line: p.at, words: []string{verb, rest}}
	switch {
	case verb == "write":
		body, _, err := p.until(func(l string) bool { return l == "." })
		s.body = strings.Join(body, "\n") + "\n"
		return s, err
	case verb == "raw":
		body, last, err := p.until(func(l string) bool { return strings.HasPrefix(l, "-- ") })
		if err != nil {
			return s, err
		}
		s.body = strings.Join(body, "\r\n") + "\r\n"
		if s.status, err = strconv.Atoi(strings.TrimPrefix(last, "-- ")); err != nil {
			return s, fmt.Errorf("bad status: %w", err)
		}
	case slices.Contains(methods, verb):
		head, last, err := p.until(func(l string) bool { return l == "" || strings.HasPrefix(l, "-- ") })
		if err != nil {
			return s, err
		}
		s.header = head
		if last == "" {
			var body []string
			if body, last, err = p.until(func(l string) bool { return strings.HasPrefix(l, "-- ") }); err != nil {
				return s, err
			}
			s.body = strings.Join(body, "\n")
		}
		if s.status, err = strconv.Atoi(strings.TrimPrefix(last, "-- ")); err != nil {
			return s, fmt.Errorf("bad status: %w", err)
		}
	case !slices.Contains(verbs, verb):
		return s, fmt.Errorf("unknown step %q", verb)
	}
	for {
		check, ok := p.next()
		if !ok || check == "" {
			return s, nil
		}
		if check[0] != '#' {
			s.checks = append(s.checks, check)
		}
	}
}

func TestParseSteps(t *testing.T) {
	got, err := parseSteps("# x\n\nwrite a.json\n{\n\n}\n.\nGET $ADMIN/x\nHost: y\n\nbody\n\nmore\n-- 200\nbody z\n\nstop\n\nraw 80\nGET / HTTP/1.0\n\n-- 404\n")
	if err != nil || len(got) != 4 {
		t.Fatalf("%v, %+v", err, got)
	}
	if got[0].body != "{\n\n}\n" || got[1].body != "body\n\nmore" || got[1].status != 200 || got[1].header[0] != "Host: y" || got[1].checks[0] != "body z" ||
		got[3].body != "GET / HTTP/1.0\r\n\r\n" || got[3].status != 404 {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"nothing x", "GET /x", "GET /x\n-- ok", "write x\nand no end"} {
		if _, err := parseSteps(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
