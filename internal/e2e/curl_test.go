package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
)

// curl is as much of curl as the README and the how-tos use, for machines that have
// none. It knows -s, -S, -i, -f, -k, -X, -H, -d and --data-binary (also @file), -o, -w '%{http_code}',
// --unix-socket, --cacert, --cert, --key, URLs without a scheme, and names below localhost.
func curl(args []string) int {
	c := request{header: http.Header{}, out: os.Stdout}
	if err := c.parse(args); err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		return 2
	}
	code, err := c.send()
	if err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
	}
	return code
}

type request struct {
	url, method, socket, writeOut string
	header                        http.Header
	body                          *string
	head, fail, insecure          bool
	roots, cert, key              string // files
	out                           io.Writer
}

func (c *request) parse(args []string) error {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") {
			c.url = arg
			continue
		}
		// -sS is -s -S.
		if len(arg) > 2 && arg[1] != '-' {
			args = slices.Insert(args, 0, "-"+arg[2:])
			arg = arg[:2]
		}
		switch arg {
		case "-s", "-S":
			continue
		case "-i":
			c.head = true
			continue
		case "-f":
			c.fail = true
			continue
		case "-k":
			c.insecure = true
			continue
		}
		if len(args) == 0 {
			return fmt.Errorf("%s: not known here, or without its value", arg)
		}
		if err := c.option(arg, args[0]); err != nil {
			return err
		}
		args = args[1:]
	}
	if c.url == "" {
		return errors.New("no URL")
	}
	return nil
}

func (c *request) option(name, value string) error {
	switch name {
	case "-X":
		c.method = value
	case "-H":
		k, v, _ := strings.Cut(value, ":")
		c.header.Set(k, strings.TrimSpace(v))
	case "-d", "--data-binary":
		if file, ok := strings.CutPrefix(value, "@"); ok {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if value = string(text); name == "-d" {
				value = strings.NewReplacer("\r", "", "\n", "").Replace(value)
			}
		}
		c.body = &value
	case "-o":
		f, err := os.Create(value)
		if err != nil {
			return err
		}
		c.out = f
	case "-w":
		c.writeOut = value
	case "--unix-socket":
		c.socket = value
	case "--cacert":
		c.roots = value
	case "--cert":
		c.cert = value
	case "--key":
		c.key = value
	default:
		return fmt.Errorf("%s: not known here", name)
	}
	return nil
}

func (c *request) send() (int, error) {
	if !strings.Contains(c.url, "://") {
		c.url = "http://" + c.url
	}
	var body io.Reader
	if c.body != nil {
		body = strings.NewReader(*c.body)
		if c.method == "" {
			c.method = "POST"
		}
		if c.header.Get("Content-Type") == "" {
			c.header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	}
	r, err := http.NewRequest(c.method, c.url, body)
	if err != nil {
		return 3, err
	}
	r.Header = c.header
	r.Host = c.header.Get("Host")
	dialer := &net.Dialer{}
	transport := &http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if c.socket != "" {
			return dialer.DialContext(ctx, "unix", c.socket)
		}
		if host, port, _ := net.SplitHostPort(address); strings.HasSuffix(host, ".localhost") {
			address = "127.0.0.1:" + port
		}
		return dialer.DialContext(ctx, network, address)
	}
	if transport.TLSClientConfig, err = c.tls(); err != nil {
		return 58, err
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return 7, err
	}
	defer resp.Body.Close()
	if c.fail && resp.StatusCode >= 400 {
		return 22, fmt.Errorf("(22) The requested URL returned error: %d", resp.StatusCode)
	}
	if c.head {
		fmt.Fprintf(c.out, "%s %s\r\n", resp.Proto, resp.Status)
		_ = resp.Header.Write(c.out)
		fmt.Fprint(c.out, "\r\n")
	}
	if _, err := io.Copy(c.out, resp.Body); err != nil {
		return 18, err
	}
	fmt.Print(strings.NewReplacer(`\n`, "\n", "%{http_code}", fmt.Sprint(resp.StatusCode)).Replace(c.writeOut))
	return 0, nil
}

// tls is what it says of certificates.
func (c *request) tls() (*tls.Config, error) {
	conf := &tls.Config{InsecureSkipVerify: c.insecure}
	if c.roots != "" {
		text, err := os.ReadFile(c.roots)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		conf.RootCAs.AppendCertsFromPEM(text)
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
