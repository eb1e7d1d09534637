// Package httptool makes one HTTP request a tool: the operator writes down the URL, the headers and the body, and the
// model fills in the arguments.
//
// # Templates
//
// In the path and query of the URL, in headers and in the body, {args.name} stands for an argument. Other placeholders,
// such as {assistant.user}, are filled in for the user who asks. Each value is escaped for where it stands, so that it
// can change nothing but itself:
//
//   - In the path it is part of one segment. A segment can become neither empty nor a dot segment, also not for servers
//     that take %2F for a slash.
//   - In the query it is part of one name or value. A pair with arguments is left out when all of them are missing.
//   - In a body of JSON it is part of a string, or, outside of quotes, one JSON value: null when it is missing. In a
//     body of form fields it is as in the query.
//   - In a header, where nothing can be escaped, arguments with control characters, commas, semicolons, quotes and
//     backslashes, or other characters than ASCII, are refused.
//
// Scheme, host and port never come from a placeholder.
//
// # Requests
//
// A call is one request on a connection of its own. It is never sent again, neither here nor by net/http, and carries
// the call's id as Idempotency-Key. An error is [assistant.ErrNotCalled] as long as nothing of the request was sent.
// Redirects are not followed. A status from 300 on is a failure of the tool, of which the model learns the status alone.
// Responses of text and JSON go to the model, up to 4 MiB; of others it learns type and size.
package httptool
