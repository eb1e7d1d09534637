// Package caddymodule makes the assistant a Caddy module: importing it registers what is below.
//
//	http.handlers.assistant             endpoint.Handler: the WebSocket endpoint
//	assistant                           endpoint.App: where the handlers of one configuration meet
//	http.handlers.assistant_chat        chatpage.ChatPage: the chat page and the element's files
//	http.handlers.asyncapi              docs.AsyncAPI: their document and its page
//	http.assistant.providers.openai     providers.OpenAI: models behind OpenAI's API
//	http.assistant.providers.demo       providers.Demo: the built-in model without a network
//	http.assistant.stores.memory        stores.Memory: conversations in memory
//	http.assistant.stores.sqlite        stores.SQLite: in a file
//	http.assistant.stores.postgres      stores.Postgres: in a database, which several nodes may share
//	http.assistant.brokers.local        brokers.Local: connects no nodes
//	http.assistant.brokers.postgres     brokers.Postgres: connects them through the database that they share
//	http.assistant.brokers.nats         brokers.NATS: through NATS, which is faster
//	http.assistant.tools.http           tools.HTTP: a tool that is one HTTP request
//	http.assistant.tools.mcp            tools.MCP: the tools of a server of the Model Context Protocol
//	admin.api.assistant                 admin.Admin: /assistant/ of Caddy's admin API
//
// Package command adds "caddy assistant". All of them translate configuration and requests; what they do not
// decide is decided in packages that know nothing of Caddy. They import each other one way:
//
//	command ─► admin, docs ─► endpoint ─► observe
//	                chatpage ─► endpoint
//
// Providers, tools, stores and brokers stand alone, and endpoint finds them by their names. Modules of others in their
// namespaces implement endpoint.ProviderSource, endpoint.ToolSource, endpoint.StoreSource and endpoint.BrokerSource.
package caddymodule

import (
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/admin"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/brokers"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/chatpage"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/command"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/docs"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/providers"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/stores"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/tools"
)
