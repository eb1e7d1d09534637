// Package webchat holds the chat page: plain HTML, CSS and JavaScript modules, without a build step.
//
// The page is a client like any other: it speaks the published protocol over one WebSocket and asks no
// other host for anything. It may be mounted at any path, since all its references are relative. To host
// it elsewhere, copy the files beside this one and edit the one line of index.html that names the socket.
//
// client.js is the protocol: Connection opens the socket, notices when it is dead and opens it again;
// Conversation finds the turn that a frame belongs to. It knows no page, so Node can test it. chat.js is
// the page. types.d.ts describes the frames and the seams between the two for editors; no browser loads it.
//
// Styles, scripts and tests may rely on these:
//
//	#status[data-state]     connecting, connected, reconnecting, offline, closed
//	#log > #messages        the conversation: a .turn for each question, a .notice for what concerns none
//	.message[data-role]     user or assistant, with .text, time, .model and .note (how an answer ended, if
//	                        that is worth a word)
//	.message[data-state]    of a question: queued, sent; of an answer: streaming, ended
//	.problem .retry         why a turn failed; a button, shown where asking again can help
//	#input #send #stop #reconnect #latest
//	#view-logs #logs        the dialog with #logs-list > [data-kind], #logs-clear, #logs-close;
//	                        kinds are sent, received, connection
//
// Text is best read as textContent.
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
