package endpoint

import (
	"context"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// addLogFields adds what is known before the upgrade to the request's line in the access log. With HTTP/1.1 that line
// is written at the upgrade; the handler's own log has the rest.
func addLogFields(ctx context.Context, handler string, p assistant.Peer) {
	extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if !ok {
		return
	}
	extra.Add(zap.String("handler", handler))
	if p.User != "" {
		extra.Add(zap.String("user", p.User))
	}
	if p.Conversation != "" {
		extra.Add(zap.String("conversation_id", p.Conversation))
	}
}
