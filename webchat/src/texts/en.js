// English: built in, and what stands where another language has nothing. The server's sentences are in reasons.js; what is
// loaded later has its own.
export default {
  // the element
  assistant: 'Assistant',
  chat: 'Chat',
  close: 'Close',
  cancel: 'Cancel',
  copy: 'Copy',
  copied: 'Copied',
  welcome: 'How can I help?',
  messages: 'Messages',
  latest: 'Jump to latest',

  // the question
  message: 'Your message',
  message_hint: 'Type your message…',
  send: 'Send',
  send_key: 'Send (Enter)',
  stop: 'Stop',
  stop_key: 'Stop (Escape)',
  editing: 'Replaces the question and all after it.',
  privacy: 'Privacy',

  // a turn
  you: 'You',
  edit: 'Edit',
  regenerate: 'Regenerate',
  queued: 'Queued',
  answering: 'Answering…',
  reasoning: 'Reasoning',
  thinking: 'Thinking…',
  thought: { one: 'Thought for {count} second', other: 'Thought for {count} seconds' },
  usage: 'Token usage',
  tokens: 'Tokens: {input} in, {output} out',
  tokens_estimated: 'Tokens: {input} in, {output} out, estimated',
  retry: 'Try again',
  retry_later: 'Try again {when}',
  unshown: 'There is something this page cannot show.',
  code: 'code',
  done: 'Done',
  table: 'Table',
  footnote: 'Footnote {number}',
  footnote_back: 'Back to the text',

  // how an answer ended
  'ending.stop': '',
  'ending.stopped': 'Stopped',
  'ending.length': 'Cut at the length limit',
  'ending.content_filter': 'Cut by the content filter',
  'ending.budget': 'Cut at the end of the budget',
  'ending.interrupted': 'Interrupted',
  'ending.waiting': 'Waiting for a decision',
  'ending.error': 'Incomplete',

  // the conversations
  conversations: 'Conversations',
  new: 'New chat',
  search: 'Search titles',
  search_none: 'No conversations found.',
  search_label: 'Search conversations',
  rename: 'Rename {title}',
  title: 'Title',
  delete: 'Delete',
  delete_title: 'Delete {title}',
  delete_question: 'Delete this conversation?',
  more: 'More',

  // the connection
  'state.connecting': 'Connecting',
  'state.connected': 'Connected',
  'state.reconnecting': 'Reconnecting',
  'state.offline': 'Offline',
  'state.closed': 'Closed',
  'banner.reconnecting': 'The connection was lost. Trying again {when}.',
  'banner.unreachable': 'The assistant cannot be reached. Trying again {when}.',
  'banner.offline': 'You are offline. Your draft is kept.',
  'banner.closed': 'The connection was closed.',
  reconnect: 'Reconnect',
  sign_in: 'Sign in',

  // why the server refuses a connection
  'refusal.sign_in': 'Sign in to use the assistant.',
  'refusal.forbidden': 'The assistant may not be used on this page.',
  'refusal.foreign': 'The assistant may not be used on this page, or you have to sign in at {host} first.',
  'refusal.gone': 'There is no such conversation.',
  'refusal.absent': 'There is no assistant at this address.',
  'refusal.full': 'Too many people are using the assistant. Trying again {when}.',
  'refusal.unavailable': 'The assistant is not available right now. Trying again {when}.',

  // what the page itself has to tell
  'error.connection_lost': 'The connection was lost.',
  'error.connection_ended': 'The server ended the connection.',
  'error.message_too_large': 'The message is too large.',
  'error.conversation_deleted': 'The conversation was deleted.',
  'error.unanswered': 'The question was not answered, or not to the end.',
  no_files: 'Files cannot be sent here.',
  'notice.forgotten': 'The assistant does not remember what was said above.',

  // what the server does not accept
  'invalid.string_too_long': { one: 'This is too long: at most {count} character is allowed.', other: 'This is too long: at most {count} characters are allowed.' },
  'invalid.string_too_short': 'Please enter some text.',
  'invalid.other': 'This could not be sent.',
};
