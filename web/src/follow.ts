// SPDX-License-Identifier: Apache-2.0
// The view follows the cell that runs, and long blocks of output follow their end, until the person scrolls away.
//
// If the scroll position is not the one that was set here last, the user has scrolled. (A scroll event alone does
// not tell this: it comes one frame later, when there may already be more output.)

const SLACK = 4, MARGIN = 12;       // pixels

/** A block with a scroll bar of its own, whose end stays in view while text is appended. */
class Block {
  private follows = true;
  private set = 0;

  constructor(private readonly element: HTMLElement) {
    element.addEventListener("scroll", () => this.scrolled());
  }

  private scrolled(): void {
    const {scrollTop, clientHeight, scrollHeight} = this.element;
    if (Math.abs(scrollTop - this.set) <= SLACK) return;
    this.set = scrollTop;
    this.follows = scrollTop + clientHeight >= scrollHeight - SLACK;
  }

  toEnd(): void {
    if (!this.follows) return;
    this.element.scrollTop = this.element.scrollHeight;
    this.set = this.element.scrollTop;
  }
}

export class Follow {
  private cell: HTMLElement | null = null;
  private blocks = new WeakMap<HTMLElement, Block>();
  /** The blocks whose text has grown since the last frame. */
  private readonly grown = new Set<HTMLElement>();
  private follows = false;
  private drawn = false;
  private set = 0;
  private readonly size = new ResizeObserver(() => this.resized());

  constructor() {
    addEventListener("scroll", () => this.scrolled(), {passive: true});
  }

  /** A cell begins to run. The first cell of a queue is followed wherever the view was before. */
  begin(cell: HTMLElement, isFirst: boolean): void {
    this.size.disconnect();
    this.cell = cell;
    this.drawn = false;
    this.follows ||= isFirst;
    this.size.observe(cell);        // reports at once, too
  }

  /** A block of the cell's output has more text. */
  grew(block: HTMLElement): void {
    if (!this.grown.size) requestAnimationFrame(() => this.scrollBlocks());
    this.grown.add(block);
    if (!this.blocks.has(block)) this.blocks.set(block, new Block(block));
  }

  /** The run has ended. Its pictures may not be loaded yet. */
  async end(cell: HTMLElement): Promise<void> {
    await Promise.allSettled([...cell.querySelectorAll("img")].map(image => image.decode()));
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    if (this.cell !== cell) return;
    this.size.disconnect();
    this.cell = null;
  }

  private scrollBlocks(): void {
    for (const block of this.grown) this.blocks.get(block)!.toEnd();
    this.grown.clear();
  }

  /** The part of the window below the header. */
  private get view(): {top: number; bottom: number} {
    return {top: document.querySelector("header")!.getBoundingClientRect().bottom + MARGIN, bottom: innerHeight - MARGIN};
  }

  private resized(): void {
    if (this.follows) this.show();
    this.drawn = true;
  }

  /** Brings the end of the cell into view. When the cell begins to run, brings the whole cell into view, or only
   * its end if the cell is higher than the window. */
  private show(): void {
    const {top, bottom} = this.view, cell = this.cell!.getBoundingClientRect();
    const above = cell.top - top, below = cell.bottom - bottom;
    if (below > 0) scrollBy({top: below, behavior: "instant"});
    else if (!this.drawn && above < 0) scrollBy({top: Math.max(above, below), behavior: "instant"});
    this.set = scrollY;
  }

  private scrolled(): void {
    if (!this.cell || !this.drawn || Math.abs(scrollY - this.set) <= SLACK) return;
    this.set = scrollY;
    const end = this.cell.getBoundingClientRect().bottom;
    this.follows = end >= this.view.top && end <= innerHeight + SLACK;
  }
}
