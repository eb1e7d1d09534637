// What calls of tools say in English; loaded with the first call. A translation has it beside the others.
export default {
  arguments: 'Arguments',
  no_arguments: 'No arguments',
  changed: 'A person has changed the arguments.',
  result: 'Result',
  problem: 'What went wrong',
  truncated: 'The result was too long to be kept whole.',

  // how far a call is
  'call.preparing': 'Being prepared…',
  'call.waiting': 'Waiting for approval',
  'call.waiting.client': 'Waiting for the page',
  'call.waiting.input': 'Waiting for your answer',
  'call.running': 'Running…',
  'call.done': 'Done',
  'call.failed': 'Failed',
  'call.denied': 'Denied',
  'call.unknown': 'It is not known whether this was done',

  // the decision
  asks: '{title} asks you something.',
  waits: '{title} waits for your approval.',
  decide_by: 'Decide by {time}. After that it is denied.',
  approve: 'Approve',
  approve_changed: 'Approve with changes',
  remember: 'Do not ask again for this tool in this conversation',
  deny: 'Deny',
  deny_reason: 'Reason, if you like. The model reads it.',
  arguments_json: 'Arguments, as JSON',
  no_object: 'This is not a JSON object.',
  not_accepted: 'Not accepted: {problem}',
  send_input: 'Send',
  decline: 'Decline',
  no_choice: 'No choice',
  continue: 'Continue',
};
