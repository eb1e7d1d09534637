// Package webchat holds the chat page and the element <assistant-chat>, which is all that the page consists of.
//
// It is a client like any other: it speaks the published protocol over one WebSocket and asks no other host
// for anything. Its files may be mounted at any path, since all their references are relative. To host them
// elsewhere, copy those in dist and edit the one line of index.html that names the socket.
//
// "npm run build" makes dist from src and client: assistant-chat.js is what opening the page costs; others are loaded
// when they are needed: markdown.js for the first answer, math.js for the first formula, entities.js for the first
// character reference that is not a common one, highlight.js for the first block of code and a file in languages
// for each language, reasoning.js for the first model that reasons, history.js for stored messages that have more
// than text or that failed, manage.js to rename or delete a conversation, menu.js and export.js for what is seldom
// wanted, tutorial.js for a server that knows the tutorial's actions alone, one of texts for a reader of another
// language than English. "npm run check" compares what it would write. The files are not compressed; the directive
// assistant_chat does that.
//
// The folder client is what the page is made of and knows no page, so that other programs can use it, and Node can
// test it: client.js joins the socket, a conversation and what becomes of each question. connection.js opens the socket,
// notices when it is dead and opens it again; handshake.js asks the same address by HTTP why it is refused, and for
// the limits. stored.js follows a stored conversation through cuts and reloads; tutorial.js finds the turn that a frame
// belongs to in the socket's own conversation. protocol.d.ts has the frames' types, which the AsyncAPI document makes;
// types.d.ts has the seams.
//
// In src, assistant-chat.js is the element; chat.js joins what it consists of: layout.js, turn.js for a question
// and its answer, sidebar.js for the list of conversations, status.js for the connection, composer.js for the input
// with drafts.js for what was typed and not sent and counter.js, which tells the limits before it is, files.js for what
// is dropped or pasted, keys.js for single keys, theme.js for light and dark, scroll.js, logs.js for the frames.
// print.css makes paper of it. prose.js has markdown.js show an answer while it comes: syntax.js reads it, by marked's
// lexer with formula.js for what is mathematics; blocks.js makes nodes of its blocks and lines.js of what is in their
// lines; footnotes.js, links.js, code.js, decode.js and formula-node.js are what these need. Whatever people read is in
// texts, a file for each language; texts.js chooses one and makes sentences of it.
//
// Browsers of 2024 and later can show it.
//
// On the page the URL names the conversation: #<id>. Without one the first question creates it, and Back and Forward
// lead through those that the reader opened. The page is installable: manifest.webmanifest names icons and title. An element
// in somebody else's page leaves the URL alone, and the browser remembers the conversation.
//
// Scripts and tests may rely on these, in the element's shadowRoot:
//
//	#chat[data-kept=false]  the server keeps no conversations, so that there is only the socket's own
//	#chat.menu              the sidebar is shown where space is short
//	#status[data-state]     connecting, connected, reconnecting, offline, closed
//	#banner #reconnect      what to know while there is no connection
//	#sign-in                a link to the socket's address, shown where that wants to know who asks; the chat connects
//	                        when the reader comes back
//	#log > #messages        the conversation: a .turn for each question, a .notice for what concerns none
//	#welcome                what is shown until something is said, with a .suggestion for each offered question
//	.turn[data-pending]     its question is not known to be stored
//	.message[data-role]     user or assistant, with .text, time, .model, .note (how an answer ended, if that
//	                        is worth a word, or that a question is queued) and buttons: .copy, a question's .edit, an answer's .regenerate
//	                        and .usage, which shows .tokens; .reasoning is before the text, folded; a .notice
//	                        says that there is something which this page cannot show
//	.message[data-state]    of a question: queued (there is no connection, or another is answered), sent; of an answer: streaming, ended
//	.code[data-language]    a block of code in .text, with .copy
//	.problem .retry         why a turn failed; a button, shown where asking again can help
//	.notice[data-reason]    by the protocol's reason, each once
//	#input #send #stop #latest #new
//	#counter                near a limit: the question's characters; .over it: why it cannot be sent
//	#editing #cancel        shown while #input holds a question that is being edited
//	#hint                   what is to be said of #input, until something is typed
//	#menu #conversations    the sidebar: #search, and #list with an li[data-id] for each conversation:
//	                        .title (aria-current: the one shown), .rename, .delete; #none says that a search found none
//	#confirm                the dialog that asks before it deletes: .cancel, .confirm
//	#more #options          the menu: .print (of the page alone), .save_markdown, .save_json, .shortcuts, and on the page
//	                        #appearance with an input for each theme: system, light, dark
//	#shortcuts              the list of keys, with #single-keys, which switches those without Ctrl
//	#disclaimer #privacy    a line under #input, and the link in it
//	#view-logs #logs        with the attribute logs: the dialog with #logs-list > [data-kind], #logs-clear, #logs-close;
//	                        kinds are sent, received, connection
//	#launcher #close        of a floating chat
//
// Text is best read as textContent. A question's is as it was typed; an answer's has no Markdown left.
package webchat

import (
	"embed"
	"io/fs"
)

//go:embed dist
var dist embed.FS

// Files is the chat page, with index.html at its root. It is read-only and safe for concurrent use. Its
// files have no modification time, so whoever serves them decides how they are cached.
var Files fs.FS = built()

func built() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // cannot happen: the folder is embedded
	}
	return files
}
