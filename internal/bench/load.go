package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// load is what a load generator saw.
type load struct {
	requests int64
	rate     float64 // requests/s
	p99      time.Duration
}

// generate sends requests over keep-alive connections for the period. An answer
// other than 2xx, or a connection that breaks, is an error.
func (b *bench) generate(addr string, k kind) (load, error) {
	if wrk := b.path["wrk"]; wrk != "" {
		return b.runWrk(wrk, addr, k)
	}
	return b.ownLoad(addr, k)
}

// ownLoad is the generator for machines without wrk.
func (b *bench) ownLoad(addr string, k kind) (load, error) {
	ctx, cancel := context.WithTimeout(b.ctx, b.period)
	defer cancel()
	hists := make([]histogram, k.conns)
	errs := make([]error, k.conns)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range k.conns {
		wg.Go(func() { errs[i] = fire(ctx, addr, k.request, &hists[i]) })
	}
	wg.Wait()
	elapsed := time.Since(start)
	var all histogram
	for i := range hists {
		all.merge(&hists[i])
	}
	if err := errors.Join(errs...); err != nil {
		return load{}, err
	}
	if all.n == 0 {
		return load{}, errors.New("no answer")
	}
	return load{all.n, float64(all.n) / elapsed.Seconds(), all.quantile(0.99)}, nil
}

// fire sends one request after the other until ctx ends.
func fire(ctx context.Context, addr string, request []byte, h *histogram) error {
	c := newClient(addr, 20*time.Second)
	defer c.close()
	for ctx.Err() == nil {
		start := time.Now()
		r, err := c.do(request)
		if err != nil {
			return err
		}
		if r.status/100 != 2 {
			return fmt.Errorf("status %d: %.200q", r.status, r.body)
		}
		h.add(time.Since(start))
	}
	return nil
}

func (b *bench) runWrk(wrk, addr string, k kind) (load, error) {
	secs := max(1, int(b.period.Round(time.Second)/time.Second))
	args := append([]string{"-t1", fmt.Sprintf("-c%d", k.conns), fmt.Sprintf("-d%ds", secs), "--latency"}, k.wrk...)
	ctx, cancel := context.WithTimeout(b.ctx, time.Duration(secs)*time.Second+time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, wrk, append(args, "http://"+addr+k.path)...).CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w: %.300s", err, out)
	}
	return readWrk(string(out))
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkRate     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkSlow     = regexp.MustCompile(`99%\s+([\d.]+)(us|ms|s|m)\b`)
	wrkBroken   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+)`)
)

// readWrk understands what wrk prints.
func readWrk(out string) (load, error) {
	m, rate, slow := wrkRequests.FindStringSubmatch(out), wrkRate.FindStringSubmatch(out), wrkSlow.FindStringSubmatch(out)
	if m == nil || rate == nil || slow == nil || m[1] == "0" {
		return load{}, fmt.Errorf("no answer: %.300s", out)
	}
	if bytes.Contains([]byte(out), []byte("Non-2xx")) {
		return load{}, fmt.Errorf("answers other than 2xx: %s", out)
	}
	if e := wrkBroken.FindStringSubmatch(out); e != nil && (e[1] != "0" || e[2] != "0" || e[3] != "0") {
		return load{}, errors.New(e[0])
	}
	var l load
	var err1, err2, err3 error
	l.requests, err1 = strconv.ParseInt(m[1], 10, 64)
	l.rate, err2 = strconv.ParseFloat(rate[1], 64)
	l.p99, err3 = time.ParseDuration(slow[1] + slow[2])
	return l, errors.Join(err1, err2, err3)
}

// echoHTTP answers the requests of one connection: with big to /big, with small
// to all others. Bodies are read and forgotten.
func echoHTTP(c net.Conn, small, big []byte) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 16<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		text := small
		if bytes.Contains(line, []byte(" /big ")) {
			text = big
		}
		if !skipRequest(r) {
			return
		}
		if _, err := c.Write(text); err != nil {
			return
		}
	}
}

// skipRequest reads what follows a request line. Only bodies of known length
// are understood; that is what is sent here.
func skipRequest(r *bufio.Reader) bool {
	var body int64
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return false
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			_, err := io.CopyN(io.Discard, r, body)
			return err == nil
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); is(name, "Content-Length") {
			if body, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return false
			}
		}
	}
}
