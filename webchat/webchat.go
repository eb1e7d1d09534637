// Package webchat holds the chat page: plain HTML, CSS and JavaScript modules, without a build step.
//
// The page is a client like any other: it speaks the published protocol over one WebSocket and asks no
// other host for anything. It may be mounted at any path, since all its references are relative. To host
// it elsewhere, copy the files beside this one and edit the one line of index.html that names the socket.
//
// client.js is the protocol: Connection opens the socket, notices when it is dead and opens it again;
// Conversation finds the turn that a frame belongs to in the socket's own conversation, which is all that a
// server of the tutorial has. stored.js follows a stored conversation through cuts and reloads. Neither
// knows a page, so Node can test them. chat.js is the page: turn.js shows a question and its answer,
// markdown.js the answer's text, sidebar.js the list of conversations, logs.js the frames.
// streaming-markdown.js is a package from npm, named at its top. types.d.ts describes the frames and the
// seams for editors; no browser loads it.
//
// The URL names the conversation: #<id>. Without one the first question creates it.
//
// Styles, scripts and tests may rely on these:
//
//	#status[data-state]     connecting, connected, reconnecting, offline, closed
//	#log > #messages        the conversation: a .turn for each question, a .notice for what concerns none
//	.turn[data-pending]     its question is not known to be stored
//	.message[data-role]     user or assistant, with .text, time, .model, .note (how an answer ended, if that
//	                        is worth a word) and buttons: .copy, a question's .edit, an answer's .regenerate
//	.message[data-state]    of a question: queued, sent; of an answer: streaming, ended
//	.problem .retry         why a turn failed; a button, shown where asking again can help
//	#input #send #stop #reconnect #latest #new
//	#editing #cancel        shown while #input holds a question that is being edited
//	#conversations          the sidebar, a popover of #menu where space is short: #search, and #list with an
//	                        li for each conversation: a (aria-current: the one shown), .rename, .delete
//	body[data-kept=false]   the server keeps no conversations, so that there is only the socket's own
//	#view-logs #logs        the dialog with #logs-list > [data-kind], #logs-clear, #logs-close;
//	                        kinds are sent, received, connection
//
// Text is best read as textContent. A question's is as it was typed; an answer's has no Markdown left.
package webchat

import (
	"embed"
	"io/fs"
)

//go:embed index.html chat.css icon.svg *.js
var files embed.FS

// Files is the chat page, with index.html at its root. It is read-only and safe for concurrent use. Its
// files have no modification time, so whoever serves them decides how they are cached.
var Files fs.FS = files
