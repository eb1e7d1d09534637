// @ts-check

/** Follows the text until the reader goes up. */
export class Scroll {
  #log;
  #moved;
  #following = true;
  #lastTop = 0;

  /** @param {HTMLElement} log @param {(isFollowing: boolean, top: number) => void} moved */
  constructor(log, moved) {
    this.#log = log;
    this.#moved = moved;
    log.onscroll = () => this.#scrolled();
    const resized = new ResizeObserver(() => (this.#following ? this.toEnd() : this.#scrolled()));
    resized.observe(log);
    resized.observe(log.firstElementChild);
  }

  toEnd() {
    this.#following = true;
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#lastTop = this.#log.scrollTop; // the reader may go up before the event of this
  }

  /** Keeps what the reader sees in its place while change puts something above it. */
  keep(change) {
    const below = this.#log.scrollHeight - this.#log.scrollTop;
    change();
    this.#log.scrollTop = this.#log.scrollHeight - below;
  }

  #scrolled() {
    const { scrollHeight, clientHeight, scrollTop } = this.#log;
    const gap = scrollHeight - clientHeight - scrollTop;
    this.#following = scrollTop < this.#lastTop ? gap < 2 : this.#following || gap < 32;
    this.#lastTop = scrollTop;
    this.#moved(this.#following, scrollTop);
  }
}
