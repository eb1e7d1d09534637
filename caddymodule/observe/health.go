package observe

import (
	"slices"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/prometheus/client_golang/prometheus"
)

// ProvidersHealthy reports the state of providers at the time of each scrape.
var ProvidersHealthy = collected(&healthCollector{
	desc: prometheus.NewDesc("caddy_assistant_providers_healthy", "1 where a provider is asked, 0 where it is passed over since it failed.",
		[]string{"handler", "provider", "model"}, nil),
})

type healthCollector struct {
	desc *prometheus.Desc

	mu   sync.Mutex
	hubs []*conversation.Hub // the last one of each handler counts
}

// Add reports the providers of a hub, under the name of the handler whose settings it uses, in place of an earlier hub
// of that name.
func (c *healthCollector) Add(hub *conversation.Hub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.hubs, hub) {
		c.hubs = append(c.hubs, hub)
	}
}

// Remove stops reporting a hub. An earlier one of the same handler is reported again.
func (c *healthCollector) Remove(hub *conversation.Hub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hubs = slices.DeleteFunc(c.hubs, func(other *conversation.Hub) bool { return other == hub })
}

// Describe sends the description of the metric.
func (c *healthCollector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect sends the state of the providers in each handler's newest settings.
func (c *healthCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reported := map[string]bool{}
	for _, hub := range slices.Backward(c.hubs) {
		settings := hub.Using()
		name := handlerOf(settings)
		providers, ok := settings.Provider.(*chain.Chain)
		if !ok || reported[name] {
			continue
		}
		reported[name] = true
		for _, h := range providers.Health() {
			healthy := 0.
			if h.State == chain.CircuitClosed {
				healthy = 1
			}
			to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, healthy, name, h.Provider, h.Model)
		}
	}
}

// handlerOf returns the name of the handler that settings are of.
func handlerOf(settings *conversation.Assistant) string {
	if o, ok := settings.Observer.(*observer); ok {
		return o.handler
	}
	return ""
}

var _ prometheus.Collector = (*healthCollector)(nil)
