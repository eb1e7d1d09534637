// Package caddymodule makes the assistant a Caddy module. It translates configuration and requests; what
// it does not decide is decided in packages that know nothing of Caddy.
//
// Modules, by ID:
//
//	http.handlers.assistant             [Handler]: the WebSocket endpoint
//	http.handlers.asyncapi              [AsyncAPI]: its document and docs page
//	http.assistant.providers.openai     [OpenAI]: models behind OpenAI's API
//	http.assistant.providers.demo       [Demo]: the built-in model without a network
//	http.assistant.stores.memory        [Memory]: conversations in memory
//	http.assistant.stores.sqlite        [SQLite]: in a file
//	http.assistant.stores.postgres      [Postgres]: in a database, also of several nodes
//	assistant                           [App]: where the handlers of one configuration meet
//	admin.api.assistant                 [Admin]: /assistant/ of Caddy's admin API
//	caddy.fs.assistant_chat             [ChatPage]: the chat page as a file system
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(AsyncAPI{})
	caddy.RegisterModule(OpenAI{})
	caddy.RegisterModule(Demo{})
	caddy.RegisterModule(Memory{})
	caddy.RegisterModule(SQLite{})
	caddy.RegisterModule(Postgres{})
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Admin{})
	caddy.RegisterModule(ChatPage{})

	httpcaddyfile.RegisterDirective("assistant", parseAssistant)
	httpcaddyfile.RegisterHandlerDirective("asyncapi", parseAsyncAPI)
	// Before respond, which would shadow both where a site has one without a matcher.
	httpcaddyfile.RegisterDirectiveOrder("assistant", httpcaddyfile.Before, "respond")
	httpcaddyfile.RegisterDirectiveOrder("asyncapi", httpcaddyfile.Before, "respond")
}
