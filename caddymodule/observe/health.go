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
	hubs: map[string][]*conversation.Hub{},
})

type healthCollector struct {
	desc *prometheus.Desc

	mu   sync.Mutex
	hubs map[string][]*conversation.Hub // by handler; the last one counts
}

// Add reports the providers of a hub, in place of an earlier hub of the same handler.
func (c *healthCollector) Add(handler string, hub *conversation.Hub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.hubs[handler], hub) {
		c.hubs[handler] = append(c.hubs[handler], hub)
	}
}

// Remove stops reporting a hub. An earlier one of the same handler is reported again.
func (c *healthCollector) Remove(handler string, hub *conversation.Hub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hubs[handler] = slices.DeleteFunc(c.hubs[handler], func(other *conversation.Hub) bool { return other == hub })
}

// Describe sends the description of the metric.
func (c *healthCollector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect sends the state of the providers in each handler's newest settings.
func (c *healthCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, hubs := range c.hubs {
		if len(hubs) == 0 {
			continue
		}
		providers, ok := hubs[len(hubs)-1].Using().Provider.(*chain.Chain)
		if !ok {
			continue
		}
		for _, h := range providers.Health() {
			healthy := 0.
			if h.State == chain.CircuitClosed {
				healthy = 1
			}
			to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, healthy, name, h.Provider, h.Model)
		}
	}
}

var _ prometheus.Collector = (*healthCollector)(nil)
