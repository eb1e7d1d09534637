// The frames, in English. A translation has them beside the others.
export default {
  view_logs: 'View Logs',
  logs: 'WebSocket Logs',
  logs_order: 'Newest first',
  logs_clear: 'Clear',
  'log.sent': 'Sent',
  'log.received': 'Received',
  'log.connection': 'Connection',
};
