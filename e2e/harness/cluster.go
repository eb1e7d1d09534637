package harness

import (
	"cmp"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// Cluster is several nodes of one site: processes of the built binary on loopback addresses, with one PostgreSQL
// server. Its fields may be read by any goroutine; faults are made by one at a time.
type Cluster struct {
	Nodes    []*Node
	Postgres *Postgres
	Nats     *Nats  // nil without one
	Balancer *Caddy // nil without one

	t testing.TB
}

// Node is one of the processes.
type Node struct {
	*Caddy
	Name     string
	Database *Link // its way to PostgreSQL; nil without one
	Bus      *Link // its way to NATS; nil without one

	paused bool
}

// ClusterConfig says what a [Cluster] consists of.
type ClusterConfig struct {
	Nodes    int       // 0 = 3
	Postgres *Postgres // nil = a server of its own
	// Broker is "local", "postgres" or "nats", whose server then runs too; "" = the Caddyfile has no such line.
	Broker string
	// Links gives each node ways to PostgreSQL and NATS that can fail.
	Links bool
	// Balancer runs Caddy in front of the nodes, as docs describe it: at random among those that are healthy.
	Balancer bool
	// Assistants are the handlers of each node.
	Assistants []Assistant
}

// Assistant is one handler of a [Cluster]'s nodes. Its user is who the query of the socket names: ?user=.
type Assistant struct {
	Name     string // of the handler; its database has the same
	Path     string // such as [AssistantPath]
	Upstream string // base URL of its model
	Settings string // more lines of the directive
	DSN      string // "" = its own database on the cluster's server
}

// StartCluster runs a cluster until the test ends.
func StartCluster(t testing.TB, config ClusterConfig) *Cluster {
	t.Helper()
	c := &Cluster{t: t, Postgres: config.Postgres}
	if c.Postgres == nil {
		c.Postgres = StartPostgres(t)
	}
	if config.Broker == "nats" {
		c.Nats = StartNats(t)
	}
	assistants := append([]Assistant{}, config.Assistants...)
	for i, a := range assistants {
		if a.DSN == "" {
			assistants[i].DSN = c.Postgres.Database(t, a.Name)
		}
	}
	for i := range cmp.Or(config.Nodes, 3) {
		c.Nodes = append(c.Nodes, c.startNode(t, fmt.Sprint("node", i+1), config, assistants))
	}
	if config.Balancer {
		c.Balancer = c.startBalancer(t)
	}
	t.Cleanup(c.Heal) // before the nodes are asked to stop
	return c
}

func (c *Cluster) startNode(t testing.TB, name string, config ClusterConfig, assistants []Assistant) *Node {
	t.Helper()
	n := &Node{Name: name}
	database, bus := c.Postgres.Addr(), ""
	if c.Nats != nil {
		bus = c.Nats.Addr
	}
	if config.Links {
		n.Database = NewLink(t, database)
		database = n.Database.Addr
		if c.Nats != nil {
			n.Bus = NewLink(t, bus)
			bus = n.Bus.Addr
		}
	}
	env := []string{"OPENAI_API_KEY=key"}
	if c.Nats != nil {
		env = append(env, "NATS_URL="+c.Nats.URL(bus))
	}
	var handlers strings.Builder
	for _, a := range assistants {
		env = append(env, "DSN_"+strings.ToUpper(a.Name)+"="+strings.Replace(a.DSN, c.Postgres.Addr(), database, 1))
		handlers.WriteString(a.directive(config.Broker))
	}
	n.Caddy = Start(t, Site(handlers.String()), env...)
	return n
}

// directive is the handler in a Caddyfile.
func (a Assistant) directive(broker string) string {
	switch broker {
	case "":
	case "nats":
		broker = "broker nats {env.NATS_URL}\n"
	default:
		broker = "broker " + broker + "\n"
	}
	return fmt.Sprintf(`
		assistant %s* {
			name %s
			store postgres {env.DSN_%s}
			%s
			user {query.user}
			write_rate 100000/1m
			context 1000000
			%s
			provider openai {
				base_url %s
				api_key {env.OPENAI_API_KEY}
				max_retries 0
			}
		}
	`, a.Path, a.Name, strings.ToUpper(a.Name), broker, a.Settings, a.Upstream)
}

// startBalancer runs Caddy in front of the nodes. A node is asked for its health four times a second, and is passed
// over for a second when a connection to it fails.
func (c *Cluster) startBalancer(t testing.TB) *Caddy {
	t.Helper()
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr
	}
	return Start(t, Site(`
		reverse_proxy `+strings.Join(addrs, " ")+` {
			lb_policy random
			lb_try_duration 5s
			health_uri `+AssistantPath+`
			health_status 426
			health_interval 250ms
			fail_duration 1s
		}
	`))
}

// Heal ends all faults that can be ended: paused nodes go on, ways are mended, NATS and its permissions are back.
// Nodes that have ended stay that.
func (c *Cluster) Heal() {
	for _, n := range c.Nodes {
		n.Continue(c.t)
		for _, l := range []*Link{n.Database, n.Bus} {
			if l != nil {
				l.Mend(c.t)
			}
		}
	}
	if c.Nats != nil && c.Nats.Running() {
		c.Nats.Forbid(c.t, false)
	} else if c.Nats != nil {
		c.Nats.Start(c.t)
	}
	if c.Postgres.cmd == nil {
		c.Postgres.Start(c.t)
	}
}

// Pause stops the process where it is (SIGSTOP), without its knowing.
func (n *Node) Pause(t testing.TB) {
	t.Helper()
	n.Signal(t, syscall.SIGSTOP)
	n.paused = true
}

// Continue lets a paused process go on; any other it leaves alone.
func (n *Node) Continue(t testing.TB) {
	t.Helper()
	if n.paused {
		n.Signal(t, syscall.SIGCONT)
		n.paused = false
	}
}

// Restart ends the process as a service manager does (SIGTERM), waits for a clean end, and starts it again.
func (n *Node) Restart(t testing.TB) {
	t.Helper()
	n.Signal(t, syscall.SIGTERM)
	n.Ended(t)
	n.Again(t)
}
