package e2e

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/coder/websocket"
)

// proxies are those of docs/proxies.md.
var proxies = []struct {
	language string
	timeout  string // that the test shortens
	short    string
	host     string // the line without which pages of the site count as foreign; "" = there is none
	run      func(t *testing.T, folder, text string) *exec.Cmd
}{
	{"nginx", "proxy_read_timeout 60s", "proxy_read_timeout 1s", "proxy_set_header Host $http_host;", func(t *testing.T, folder, text string) *exec.Cmd {
		file := write(t, folder, "nginx.conf", "daemon off;\nmaster_process off;\npid "+folder+"/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"+
			"client_body_temp_path "+folder+"/a;\nproxy_temp_path "+folder+"/b;\nfastcgi_temp_path "+folder+"/c;\nuwsgi_temp_path "+folder+"/d;\nscgi_temp_path "+folder+"/e;\n"+text+"}\n")
		return exec.Command(program(t, "nginx"), "-e", "stderr", "-c", file)
	}},
	{"apache", "timeout=60", "timeout=1", "ProxyPreserveHost On", func(t *testing.T, folder, text string) *exec.Cmd {
		modules := ""
		for _, m := range []string{"mpm_event", "authz_core", "proxy", "proxy_http"} {
			modules += "LoadModule " + m + "_module /usr/lib/apache2/modules/mod_" + m + ".so\n"
		}
		listen := regexp.MustCompile(`<VirtualHost (\S+)>`).FindStringSubmatch(text)[1]
		file := write(t, folder, "apache.conf", modules+"ServerRoot "+folder+"\nPidFile "+folder+"/pid\nErrorLog /dev/stderr\nDefaultRuntimeDir "+folder+"\nServerName localhost\nListen "+listen+"\n"+text)
		return exec.Command(program(t, "apache2"), "-X", "-f", file)
	}},
	{"haproxy", "timeout tunnel 60s", "timeout tunnel 1s", "", func(t *testing.T, folder, text string) *exec.Cmd {
		return exec.Command(program(t, "haproxy"), "-db", "-f", write(t, folder, "haproxy.cfg", text))
	}},
}

// program finds what Debian keeps off the PATH of users.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, folder := range []string{"/usr/sbin/", "/usr/bin/"} {
		if _, err := os.Stat(folder + name); err == nil {
			return folder + name
		}
	}
	t.Fatalf("%s is missing: make deps installs it", name)
	return ""
}

func write(t *testing.T, folder, name, text string) string {
	t.Helper()
	file := filepath.Join(folder, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// fenced returns the first block of a language in a file of the documentation.
func fenced(t *testing.T, file, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), file))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)\n```" + language + "\n(.*?)```\n").FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no block of %s", file, language)
	}
	return string(found[1])
}

// TestProxies runs what docs/proxies.md says for nginx, Apache and HAProxy: a page of the site opens the socket, an answer
// streams, the client's address comes along, and pings keep an idle socket open for longer than the proxy's timeout.
// Without the line that keeps the Host header, the socket is refused, and the log says why.
func TestProxies(t *testing.T) {
	for _, p := range proxies {
		t.Run(p.language, func(t *testing.T) {
			c := harness.Start(t, `{
				servers {
					trusted_proxies static 127.0.0.1/32
				}
			}
			http://chat.example.com:{$PORT} {
				bind 127.0.0.1
				assistant /ws/assistants/* {
					provider demo {
						delay 1ms
					}
					ping_interval 200ms
				}
				assistant_chat /assistants/*
			}`)
			text := fenced(t, "docs/proxies.md", p.language)
			if !strings.Contains(text, p.timeout) || !strings.Contains(text, p.host) {
				t.Fatalf("the text has no %q or no %q", p.timeout, p.host)
			}
			front := startProxy(t, p.run, strings.ReplaceAll(strings.Replace(text, p.timeout, p.short, 1), "127.0.0.1:8080", c.Addr))

			ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
			defer cancel()
			var pings atomic.Int32
			kept := make(chan struct{})
			conn, _, err := websocket.Dial(ctx, "ws://"+front+harness.AssistantPath, &websocket.DialOptions{
				Host: "chat.example.com:8123", HTTPHeader: http.Header{"Origin": {"http://chat.example.com:8123"}},
				HTTPClient: &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}).DialContext}},
				OnPingReceived: func(context.Context, []byte) bool {
					if pings.Add(1) == 12 { // more than two of the proxy's timeouts
						close(kept)
					}
					return true
				},
			})
			if err != nil {
				t.Fatalf("open socket: %v", err)
			}
			defer func() { _ = conn.CloseNow() }()
			received := make(chan string, 1000)
			go func() {
				defer close(received)
				for {
					_, data, err := conn.Read(ctx)
					if err != nil {
						return
					}
					received <- string(data)
				}
			}()
			select {
			case <-kept:
			case <-received:
				t.Fatalf("the idle socket was closed after %d pings", pings.Load())
			case <-ctx.Done():
				t.Fatalf("only %d pings came", pings.Load())
			}
			if err := conn.Write(ctx, websocket.MessageText, []byte(`{"action":"assistant_message","payload":"Are you there?"}`)); err != nil {
				t.Fatal(err)
			}
			pieces := 0
			for frame := range received {
				if strings.Contains(frame, `"action":"streaming"`) {
					pieces++
				}
				if strings.Contains(frame, "complete_streaming") {
					break
				}
			}
			if pieces < 3 {
				t.Errorf("the answer came in %d pieces", pieces)
			}
			var socket struct {
				ClientIP   string `json:"client_ip"`
				RemoteAddr string `json:"remote_addr"`
			}
			if err := json.Unmarshal([]byte(succeeds(t, c, "sockets", "--json")), &socket); err != nil || socket.ClientIP != "127.0.0.9" || !strings.HasPrefix(socket.RemoteAddr, "127.0.0.1:") {
				t.Errorf("the socket is of %+v, %v", socket, err)
			}
			if p.host == "" {
				return
			}
			other := harness.Start(t, harness.Site(demo))
			careless := startProxy(t, p.run, strings.ReplaceAll(strings.Replace(text, p.host, "", 1), "127.0.0.1:8080", other.Addr))
			_, res, err := websocket.Dial(ctx, "ws://"+careless+harness.AssistantPath, &websocket.DialOptions{
				Host: "chat.example.com:8123", HTTPHeader: http.Header{"Origin": {"http://chat.example.com:8123"}},
			})
			if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
				t.Fatalf("without %q: %v, %v", p.host, res, err)
			}
			line := other.WaitLog(t, func(e harness.Entry) bool { return e["msg"] == "a page of a foreign origin was refused" })
			if line["origin"] != "http://chat.example.com:8123" || !strings.Contains(line["hint"].(string), "Host") {
				t.Errorf("the log says %v", line)
			}
		})
	}
}

// startProxy runs a proxy at a free address, which it returns, until the test ends.
func startProxy(t *testing.T, run func(t *testing.T, folder, text string) *exec.Cmd, text string) string {
	t.Helper()
	addr := harness.FreeAddr(t)
	for _, listen := range []string{"listen 80;", "*:80>", "bind 127.0.0.1:80\n"} {
		text = strings.Replace(text, listen, strings.NewReplacer("127.0.0.1:80", addr, "*:80", addr, " 80", " "+addr).Replace(listen), 1)
	}
	startListener(t, run(t, t.TempDir(), text), addr)
	return addr
}

// startListener starts a program that listens at an address, and ends it with the test.
func startListener(t *testing.T, cmd *exec.Cmd, addr string) {
	t.Helper()
	var out harness.Logs
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(harness.Patience); ; {
		if response, err := http.Get("http://" + addr + "/"); err == nil {
			response.Body.Close()
			return
		}
		select {
		case <-poll.C:
		case <-ended:
			t.Fatalf("%s has ended:\n%s", cmd.Path, out.String())
		case <-deadline:
			t.Fatalf("%s does not listen:\n%s", cmd.Path, out.String())
		}
	}
}
