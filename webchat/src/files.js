// @ts-check
// What is dropped or pasted: a browser would leave the chat for a file or a link.

/** @param {HTMLElement} element @param {(transfer: DataTransfer) => void} take called for files */
export function keepOut(element, take) {
  const dropped = (event) => {
    const isFile = hasFiles(event.dataTransfer);
    if (!isFile && event.composedPath()[0].closest?.('input, textarea')) return; // text, into text
    event.preventDefault();
    if (isFile && event.type === 'drop') take(event.dataTransfer);
  };
  for (const type of ['dragenter', 'dragover', 'drop']) element.addEventListener(type, dropped);
  element.addEventListener('paste', (event) => {
    const { clipboardData } = event;
    if (!hasFiles(clipboardData) || clipboardData?.types.includes('text/plain')) return; // some programs copy a picture of the text too
    event.preventDefault();
    take(clipboardData);
  });
}

/** @param {DataTransfer | null} transfer */
function hasFiles(transfer) {
  return Boolean(transfer?.types.includes('Files'));
}
