package sessiontest

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the transcripts with what the server sends now")

// Transcript plays a txtar file and fails where the server's side differs from what is written there;
// with -update the file is rewritten. Its sections are a assistanttest.Script, named provider, or several, named
// "provider first", "provider second" and so on, which make a chain; optional instructions and settings
// (context 100, max_question_length 100, max_messages 100, rate 20/1m, budget 1000/24h, titles model,
// durability strict, on_disconnect cancel, files on, files anonymous); and the transcript, of these lines:
//
//	# anything            a remark
//	> {"action":"ping"}   the client sends this text message
//	>hex ff               a text message of these bytes
//	>binary 00ff          a binary message
//	>repeat 3 {"a":1}     the same message several times
//	>size 2000 x          a text message of so many x
//	* release [second]    let the provider's wait go on
//	* sleep 30s           let time pass
//	* dial user=ann       open a socket, or another one, with this query; without it the user is anonymous
//	* leave | * vanish    the client closes in order, or is cut off
//	* stop                the server stops
//	< {"action":"pong"}   what the server sent since; ids are numbered in order of appearance, as id-1,
//	                      and can be used by that name in what the client sends
//	= asked 1 cancelled 0 how often the model was asked, each of a chain; written after * counts
//
// A line may begin with a letter that names one of several clients; the first is a and may be left out.
func Transcript(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]*txtar.File{}
	for i := range archive.Files {
		sections[archive.Files[i].Name] = &archive.Files[i]
	}
	want := sections["transcript"]
	synctest.Test(t, func(t *testing.T) {
		p := newPlayback(t, archive, sections)
		got := p.play(string(want.Data))
		if got == string(want.Data) {
			return
		}
		if !*update {
			t.Errorf("%s: the server's side differs (rewrite with -update)\n--- got\n%s\n--- want\n%s", filepath.Base(file), got, want.Data)
			return
		}
		want.Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Error(err)
		}
	})
}

type playback struct {
	t       *testing.T
	scripts []*assistanttest.Script
	server  *Server
	clients map[string]*Client
	order   []string
	ids     map[string]string
	out     strings.Builder
}

func newPlayback(t *testing.T, archive *txtar.Archive, sections map[string]*txtar.File) *playback {
	p := &playback{t: t, clients: map[string]*Client{}, ids: map[string]string{}}
	config := conversation.Config{Provider: p.provider(archive)}
	if f := sections["instructions"]; f != nil {
		config.Instructions = strings.TrimSpace(string(f.Data))
	}
	if f := sections["settings"]; f != nil {
		set(t, &config, string(f.Data))
	}
	hub := conversation.NewHub(memory.Open(memory.Config{}), nil)
	p.server = Serve(t, hub, conversation.New(hub, config), ws.Options{MaxMessageSize: 4096})
	return p
}

// provider is the script of the archive, or a chain of them.
func (p *playback) provider(archive *txtar.Archive) assistant.Provider {
	var links []assistant.Provider
	for _, f := range archive.Files {
		if kind, name, _ := strings.Cut(f.Name, " "); kind == "provider" {
			s := assistanttest.NewNamedScript(cmp.Or(name, "script"), string(f.Data))
			p.scripts, links = append(p.scripts, s), append(links, s)
		}
	}
	c, err := chain.New(nil, links...)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *playback) script(name string) *assistanttest.Script {
	for _, s := range p.scripts {
		if s.Source().Model == cmp.Or(name, p.scripts[0].Source().Model) {
			return s
		}
	}
	p.t.Fatalf("no script is named %q", name)
	return nil
}

// set reads lines like those of a Caddyfile.
func set(t *testing.T, config *conversation.Config, lines string) {
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		name, value, _ := strings.Cut(line, " ")
		n, per := limit(t, value)
		switch {
		case name == "context":
			config.Context = n
		case name == "max_question_length":
			config.MaxQuestionLength = n
		case name == "max_messages":
			config.MaxMessages = n
		case name == "rate":
			config.Rate = limits.Rate{Count: n, Per: per}
		case name == "budget":
			config.Budget = limits.Budget{Tokens: n, Per: per}
		case line == "files on":
			config.Files.On = true
		case line == "files anonymous":
			config.Files.On, config.Files.Anonymous = true, true
		case line == "titles model":
			config.ModelTitles = true
		case line == "durability strict":
			config.Strict = true
		case line == "on_disconnect cancel":
			config.CancelAlone = true
		default:
			t.Fatalf("unknown setting in transcript: %q", line)
		}
	}
}

// limit reads "<n>" or "<n>/<duration>"; what is no number is left to others.
func limit(t *testing.T, value string) (n int, per time.Duration) {
	number, duration, isRatio := strings.Cut(value, "/")
	n, _ = strconv.Atoi(number)
	if isRatio {
		var err error
		if per, err = time.ParseDuration(duration); err != nil {
			t.Fatal(err)
		}
	}
	return n, per
}

// play does what the transcript says and returns it with the server's side as it was this time.
func (p *playback) play(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		name, step := "a", line
		if len(line) > 1 && line[0] >= 'a' && line[0] <= 'z' && strings.ContainsRune("><*", rune(line[1])) {
			name, step = line[:1], line[1:]
		}
		if strings.HasPrefix(step, "<") || strings.HasPrefix(step, "=") {
			continue
		}
		fmt.Fprintln(&p.out, line)
		if step == "" || step[0] == '#' {
			continue
		}
		if query, ok := strings.CutPrefix(step, "* dial"); ok {
			p.dial(name, strings.TrimSpace(query))
		} else {
			p.step(p.client(name), p.denumber(step))
		}
		synctest.Wait()
		p.flush()
	}
	return p.out.String()
}

func (p *playback) client(name string) *Client {
	if p.clients[name] == nil {
		p.dial(name, "")
	}
	return p.clients[name]
}

func (p *playback) dial(name, query string) {
	if p.clients[name] == nil {
		p.order = append(p.order, name)
	}
	p.clients[name] = p.server.Dial(p.denumber(query))
}

func (p *playback) step(c *Client, step string) {
	verb, rest, _ := strings.Cut(step, " ")
	switch verb {
	case ">":
		c.Send(rest)
	case ">hex":
		c.SendHex(rest)
	case ">binary":
		c.SendBinary(rest)
	case ">repeat":
		n, message := counted(rest)
		for range n {
			c.Send(message)
			synctest.Wait()
		}
	case ">size":
		n, letter := counted(rest)
		c.Send(strings.Repeat(letter, n))
	case "*":
		p.act(c, rest)
	default:
		p.t.Fatalf("unknown line in transcript: %q", step)
	}
}

func (p *playback) act(c *Client, what string) {
	verb, rest, _ := strings.Cut(what, " ")
	switch verb {
	case "release":
		p.script(rest).Release()
	case "sleep":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		time.Sleep(d) // the bubble's time
	case "leave":
		c.Leave()
	case "vanish":
		c.Vanish()
	case "stop":
		p.server.Close()
	case "counts":
		synctest.Wait()
		p.out.WriteString("=")
		for _, s := range p.scripts {
			if len(p.scripts) > 1 {
				p.out.WriteString(" " + s.Source().Model)
			}
			fmt.Fprintf(&p.out, " asked %d cancelled %d", s.Asked(), s.Cancelled())
		}
		p.out.WriteString("\n")
	default:
		p.t.Fatalf("unknown action in transcript: %q", what)
	}
}

// flush writes what the clients received, client by client; equal neighbours are counted.
func (p *playback) flush() {
	for _, name := range p.order {
		prefix := "< "
		if name != "a" {
			prefix = name + prefix
		}
		frames := p.clients[name].Received()
		for i := 0; i < len(frames); {
			n := 1
			for i+n < len(frames) && frames[i+n] == frames[i] {
				n++
			}
			fmt.Fprintf(&p.out, "%s%s", prefix, p.number(frames[i]))
			if n > 1 {
				fmt.Fprintf(&p.out, " (%d times)", n)
			}
			fmt.Fprintln(&p.out)
			i += n
		}
	}
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// number replaces ids, which are random, by their order of appearance.
func (p *playback) number(frame string) string {
	return uuids.ReplaceAllStringFunc(frame, func(id string) string {
		if p.ids[id] == "" {
			p.ids[id] = "id-" + strconv.Itoa(len(p.ids)+1)
		}
		return p.ids[id]
	})
}

var numbers = regexp.MustCompile(`id-\d+`)

// denumber puts the ids in again.
func (p *playback) denumber(step string) string {
	return numbers.ReplaceAllStringFunc(step, func(number string) string {
		for id, n := range p.ids {
			if n == number {
				return id
			}
		}
		return number
	})
}

func counted(rest string) (n int, text string) {
	number, text, _ := strings.Cut(rest, " ")
	n, _ = strconv.Atoi(number)
	return n, text
}
