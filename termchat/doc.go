// Package termchat is a chat with an assistant in a terminal, or in a pipe.
//
// It speaks the extended form of the protocol: a question has a client id, so that it is asked once
// whatever is sent again, and the conversation is a stored one, which it resumes where a connection was
// lost. No text is shown twice. What another client of the conversation asks is not shown.
//
// What the model says is data: of all control characters only newlines and tabs reach the terminal.
package termchat
