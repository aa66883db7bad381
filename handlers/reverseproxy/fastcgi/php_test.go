//go:build unix

package fastcgi_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
)

// findPHP returns the program of php-fpm. Where there is none, and make deps could fetch none, the test is skipped; in CI it fails.
func findPHP(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("SLUICE_PHP_FPM"); name != "" {
		return name
	}
	own, err := filepath.Abs("../../../.deps/php")
	if err != nil {
		t.Fatal(err)
	}
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin", own)
	for _, dir := range dirs {
		for _, pattern := range []string{"php-fpm", "php-fpm[0-9]*"} {
			if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
				return found[len(found)-1]
			}
		}
	}
	if ci := os.Getenv("CI"); ci != "" && ci != "false" {
		t.Fatal("there is no php-fpm, and this is CI; make deps says how to get it")
	}
	t.Skip("there is no php-fpm; make deps says how to get it")
	return ""
}

var scripts = map[string]string{
	"index.php":     `<?php header('X-Script: ' . $_SERVER['SCRIPT_NAME']); echo "index ", $_SERVER['PATH_INFO'] ?? '';`,
	"echo.php":      `<?php header('Content-Type: text/plain'); $in = fopen('php://input', 'rb'); $h = hash_init('sha256'); $n = 0; while (!feof($in)) { $p = fread($in, 65536); $n += strlen($p); hash_update($h, $p); } echo $n, ' ', hash_final($h);`,
	"large.php":     `<?php header('Content-Type: text/plain'); for ($i = 0; $i < 400; $i++) { echo str_repeat(chr(97 + $i % 26), 10000); }`,
	"form.php":      `<?php echo $_POST['a'] ?? '-', ' ', $_GET['b'] ?? '-', ' ', $_FILES['f']['size'] ?? '-';`,
	"status.php":    `<?php http_response_code(418); header('X-A: 1'); header('X-A: 2', false); setcookie('c', 'v'); echo 'teapot';`,
	"vars.php":      `<?php foreach (['REQUEST_URI','SCRIPT_FILENAME','SCRIPT_NAME','PATH_INFO','DOCUMENT_ROOT','QUERY_STRING','HTTP_HOST','REMOTE_ADDR','APP'] as $k) { echo $k, '=', $_SERVER[$k] ?? '(none)', "\n"; }`,
	"warn.php":      `<?php error_log('something is odd'); echo 'done';`,
	"sleep.php":     `<?php sleep(5); echo 'late';`,
	"stream.php":    `<?php while (ob_get_level()) ob_end_clean(); header('X-Accel: no'); for ($i = 0; $i < 3; $i++) { echo $i; flush(); usleep(20000); }`,
	"short.php":     `<?php header('Content-Length: 100'); echo 'part';`,
	"die.php":       `<?php while (ob_get_level()) ob_end_clean(); header('Content-Type: text/plain'); echo getmypid(), "\n"; flush(); sleep(20); echo 'alive';`,
	"upload.jpg":    `<?php echo 'an upload was run';`,
	"secret/in.php": `<?php echo 'in a folder';`,
}

// php starts php-fpm with scripts and returns its address and the folder of them.
func php(t *testing.T) (dial, root string) {
	t.Helper()
	program := findPHP(t)
	dir := t.TempDir()
	root = filepath.Join(dir, "www")
	for name, text := range scripts {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "php.sock")
	config := fmt.Sprintf(`[global]
error_log = %[1]s/fpm.log
daemonize = no
[www]
listen = %[2]s
pm = static
pm.max_children = 4
catch_workers_output = yes
php_admin_value[error_log] = /dev/stderr
php_admin_value[upload_max_filesize] = 64M
php_admin_value[post_max_size] = 64M
php_admin_value[upload_tmp_dir] = %[1]s
security.limit_extensions = .php
`, dir, socket)
	args := []string{"-n", "--nodaemonize", "-y", filepath.Join(dir, "fpm.conf")}
	if os.Getuid() == 0 {
		args = append(args, "--allow-to-run-as-root")
		config += "user = root\ngroup = root\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "fpm.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", program, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		<-done
	})
	eventually(t, "php-fpm listens", func() bool {
		select {
		case err := <-done:
			log, _ := os.ReadFile(filepath.Join(dir, "fpm.log"))
			done <- err
			t.Fatalf("php-fpm ended: %v\n%s%s", err, &output, log)
		default:
		}
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "unix/" + socket, root
}

func TestPHP(t *testing.T) {
	dial, root := php(t)
	split := fmt.Sprintf(`"split_path":[".php"],"root":%q`, root)
	f := start(t, dial, split+`,"env":{"APP":"sluice"}`, "", nil)

	t.Run("script", func(t *testing.T) {
		res := f.get("/index.php/some/path")
		if res.want(t, 200, "index /some/path"); res.Header.Get("X-Script") != "/index.php" || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%v", res.Header)
		}
		f.get("/secret/in.php").want(t, 200, "in a folder")
		f.get("/INDEX.PHP").want(t, 404, "*") // the file system cares about case
	})
	t.Run("variables", func(t *testing.T) {
		res := f.get("/vars.php/i?q=1&q=2", "Host", "app.test")
		res.want(t, 200, "REQUEST_URI=/vars.php/i?q=1&q=2\nSCRIPT_FILENAME="+root+"/vars.php\nSCRIPT_NAME=/vars.php\nPATH_INFO=/i\nDOCUMENT_ROOT="+root+
			"\nQUERY_STRING=q=1&q=2\nHTTP_HOST=app.test\nREMOTE_ADDR=127.0.0.1\nAPP=sluice\n")
	})
	t.Run("status and header", func(t *testing.T) {
		res := f.get("/status.php")
		if res.want(t, 418, "teapot"); fmt.Sprint(res.Header["X-A"]) != "[1 2]" || res.Header.Get("Set-Cookie") != "c=v" {
			t.Errorf("%v", res.Header)
		}
	})
	t.Run("forms", func(t *testing.T) {
		f.do("POST", "/form.php?b=2", strings.NewReader("a=1"), 3, "Content-Type", "application/x-www-form-urlencoded").want(t, 200, "1 2 -")
		f.do("POST", "/form.php", strings.NewReader("a=1"), 3).want(t, 200, "1 - -") // without a type it is taken for a form
		upload := "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n" + strings.Repeat("x", 3_000_000) + "\r\n--B--\r\n"
		f.do("POST", "/form.php", strings.NewReader(upload), int64(len(upload)), "Content-Type", "multipart/form-data; boundary=B").want(t, 200, "- - 3000000")
		f.do("POST", "/form.php", unknown([]byte(upload)), -1, "Content-Type", "multipart/form-data; boundary=B").want(t, 200, "- - 3000000")
	})
	t.Run("bodies", func(t *testing.T) {
		for _, size := range []int{1, 4095, 65528, 32 << 20} {
			body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			want := fmt.Sprintf("%d %x", size, sha256.Sum256(body))
			f.do("PUT", "/echo.php", bytes.NewReader(body), int64(size)).want(t, 200, want)
			f.do("PUT", "/echo.php", unknown(body), -1).want(t, 200, want)
		}
		start(t, dial, split+`,"body_spool_size":-1`, "", nil).do("PUT", "/echo.php", unknown(make([]byte, 5000)), -1).want(t, 411, "")
		res := f.get("/large.php")
		if res.err != nil || len(res.body) != 4_000_000 || res.body[9999:10001] != "ab" {
			t.Errorf("%d bytes, %v", len(res.body), res.err)
		}
	})
	t.Run("methods", func(t *testing.T) {
		res := f.do("HEAD", "/index.php", nil, 0)
		if res.want(t, 200, ""); res.Header.Get("X-Script") != "/index.php" {
			t.Errorf("%v", res.Header)
		}
		f.do("OPTIONS", "/index.php", nil, 0).want(t, 200, "index ")
	})
	t.Run("streaming", func(t *testing.T) {
		start(t, dial, split, `"flush_interval":-1`, nil).get("/stream.php").want(t, 200, "012")
	})
	t.Run("faults", func(t *testing.T) {
		start(t, dial, split+`,"read_timeout":"200ms"`, "", nil).get("/sleep.php").want(t, 504, "")
		flushing := start(t, dial, split, `"flush_interval":-1`, nil)
		if res := flushing.get("/short.php"); res.StatusCode != 200 || res.err == nil {
			t.Errorf("a body that is too short looks complete: %q", res.body)
		}
		res, err := flushing.Client().Get(flushing.URL + "/die.php")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var pid int
		if _, err := fmt.Fscanln(res.Body, &pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("a script that was killed looks complete: %q", rest)
		}
		f.get("/index.php").want(t, 200, "index ")
	})
	t.Run("what is not there", func(t *testing.T) {
		f.get("/none.php").want(t, 404, "*")
		f := start(t, dial, split+`,"capture_stderr":true`, "", nil)
		f.get("/none.php").want(t, 404, "*")
		eventually(t, "the complaint of php-fpm", func() bool {
			for _, e := range f.logs.FilterMessage("stderr").All() {
				if strings.Contains(fmt.Sprint(e.ContextMap()["body"]), "Primary script unknown") && e.Level.String() == "error" {
					return true
				}
			}
			return false
		})
	})
}

// What is no script is never run, however the path is written.
func TestPHPRunsNoUploads(t *testing.T) {
	dial, root := php(t)
	for _, path := range []string{
		"/upload.jpg", "/upload.jpg/x.php", "/upload.jpg/.php", "/upload.jpg.php", "/upload.jpg%00.php", "/upload.jpg/index.php", "/upload.ⓟhp", "/upload.jpg/q．php",
		"/index.php/../upload.jpg", "/index.php/..%2fupload.jpg", "/../www/upload.jpg", "/%2e%2e/www/upload.jpg", "/ẞẞ/../upload.jpg.php",
	} {
		f := start(t, dial, fmt.Sprintf(`"split_path":[".php"],"root":%q`, root), "", func(f *front) {
			f.before = func(r *http.Request, _ *handlers.Exchange) { r.URL.Path = strings.ReplaceAll(path, "%2f", "/") }
			if strings.Contains(path, "%00") {
				f.before = func(r *http.Request, _ *handlers.Exchange) { r.URL.Path = "/upload.jpg\x00.php" }
			}
		})
		if res := f.get("/"); strings.Contains(res.body, "an upload was run") || res.StatusCode == 200 && !strings.HasPrefix(path, "/index.php/") {
			t.Errorf("%s: %d %q", path, res.StatusCode, res.body)
		}
	}
}
