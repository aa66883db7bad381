package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/adminclient"
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/configfile"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit codes of the commands that scripts ask an instance with.
const (
	exitRefused  = 4 // the instance says that the request is wrong
	exitBroken   = 5 // the instance could not do it
	exitNobody   = 6 // no instance answers
	exitConflict = 7 // the document has changed since it was read
)

// maxRequest bounds what is read of a file or of standard input, in bytes; the
// API takes no more either.
const maxRequest = 100 << 20

// apiFlags are the flags of the command api.
type apiFlags struct {
	target
	headers []string
	ifMatch string
	etag    bool
	dryRun  bool
}

func (p *program) apiCommand() *cobra.Command {
	var f apiFlags
	cmd := &cobra.Command{
		Use: "api METHOD PATH [FILE|-]", Short: "Send a request to the admin API of a running instance", Args: cobra.RangeArgs(2, 3),
		Long: `Sends one request to the admin API and prints the answer, indented where standard
output is a terminal. The address is found as for every other command, so a unix
socket needs no further words, and the token in SLUICE_TOKEN is sent.

The body is a file, or standard input for "-". A Caddyfile is sent as one, which
its name or --adapter says. With --etag the ETag of the answer is the first line
of standard error; what it says can be given to --if-match, so that a change is
only made to what was read.

The exit code is 0 if the answer is a success; 4 if the request was refused, with
each problem on a line of standard error; 5 if the instance could not do it; 6 if
no instance answers; 7 if the document has changed since it was read, or an
expectation of --if-match failed otherwise; and 1 for all else.`,
		Example: `  sluice api GET /config/apps/http/servers
  sluice api PATCH /id/shop/handle/0/upstreams upstreams.json
  echo '"10s"' | sluice api POST /config/apps/http/grace_period -
  sluice api POST /load Caddyfile
  sluice api --dry-run POST /load new.json
  sluice api DELETE /id/old-route --if-match "$(sluice api GET /id/old-route --etag 2>&1 >/dev/null)"`,
		RunE: own(func(_ *cobra.Command, args []string) error { return p.api(f, args) }),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []string{"GET", "POST", "PUT", "PATCH", "DELETE"}, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	f.target.flags(cmd)
	cmd.Flags().StringArrayVarP(&f.headers, "header", "H", nil, `header field of the request, as "Name: value"; may be repeated`)
	cmd.Flags().StringVar(&f.ifMatch, "if-match", "", "make the change only if the ETag is still this")
	cmd.Flags().BoolVar(&f.etag, "etag", false, "print the ETag of the answer on standard error")
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "check the change, and make none")
	return cmd
}

func (p *program) api(f apiFlags, args []string) error {
	header, err := f.header()
	if err != nil {
		return err
	}
	method, path := strings.ToUpper(args[0]), args[1]
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("the path %q must begin with a slash, as in /config/apps", path)
	}
	if f.dryRun {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + "dry_run=true"
	}
	var body []byte
	if len(args) == 3 {
		if body, err = p.requestBody(args[2]); err != nil {
			return err
		}
		if language := configfile.LanguageOf(args[2], f.adapter); header.Get("Content-Type") == "" && language != configfile.JSON {
			header.Set("Content-Type", "text/"+language)
		}
	}
	target := f.target
	if target.config == "" {
		target.adapter = "" // it is about the body then
	}
	c, err := p.client(target)
	if err != nil {
		return err
	}
	text, answered, err := c.Do(method, path, header, body)
	if err != nil {
		return p.explain(err, c)
	}
	if f.etag {
		fmt.Fprintln(p.stderr, answered.Get("Etag"))
	}
	return p.printAnswer(text)
}

// header is the header of the request.
func (f *apiFlags) header() (http.Header, error) {
	h := http.Header{}
	for _, line := range f.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("--header %q must be \"Name: value\"", line)
		}
		h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if f.ifMatch != "" {
		h.Set("If-Match", f.ifMatch)
	}
	return h, nil
}

// requestBody reads a file, or standard input.
func (p *program) requestBody(file string) ([]byte, error) {
	from := p.stdin
	if file != configfile.Stdin {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading the body: %w", err)
		}
		defer opened.Close()
		from = opened
	}
	body, err := io.ReadAll(io.LimitReader(from, maxRequest+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the body: %w", err)
	case len(body) > maxRequest:
		return nil, fmt.Errorf("the body in %s is larger than %d MB", file, maxRequest>>20)
	}
	return body, nil
}

// printAnswer prints an answer as it came, or for a person indented.
func (p *program) printAnswer(text []byte) error {
	if out, ok := p.stdout.(*os.File); ok && term.IsTerminal(int(out.Fd())) && json.Valid(text) {
		var v any
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.UseNumber()
		if decoder.Decode(&v) == nil {
			encoder := json.NewEncoder(p.stdout)
			encoder.SetIndent("", "  ")
			encoder.SetEscapeHTML(false)
			return encoder.Encode(v)
		}
	}
	if _, err := p.stdout.Write(text); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	return nil
}

// explain prints an answer that says no, each of its problems on a line, and
// makes the exit code of it.
func (p *program) explain(err error, c *adminclient.Client) error {
	var status *adminclient.StatusError
	switch {
	case adminclient.NobodyThere(err):
		return &failure{exitNobody, fmt.Errorf("no instance answers at %s: %w; start one with `%s run`, or name its address with --address", c.Address, err, name)}
	case !errors.As(err, &status):
		return err
	}
	var answer struct {
		Error    string          `json:"error"`
		Problems schema.Problems `json:"problems"`
	}
	code := exitRefused
	switch {
	case status.Status == http.StatusPreconditionFailed:
		code = exitConflict
	case status.Status >= 500:
		code = exitBroken
	}
	if json.Unmarshal([]byte(status.Body), &answer) != nil || answer.Error == "" && len(answer.Problems) == 0 {
		answer.Error = strings.TrimSpace(status.Body)
	}
	head := fmt.Sprintf("%d %s", status.Status, http.StatusText(status.Status))
	if len(answer.Problems) == 0 {
		head += ": " + plain(answer.Error)
	}
	fmt.Fprintln(p.stderr, head)
	p.printProblems(answer.Problems)
	return &failure{code: code}
}

// printProblems prints each on a line of standard error.
func (p *program) printProblems(list schema.Problems) {
	for _, one := range list {
		fmt.Fprintf(p.stderr, "  %s\n", plain(one.String()))
	}
}
