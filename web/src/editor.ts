// SPDX-License-Identifier: Apache-2.0
// The code editor of a cell.
import {closeBrackets, closeBracketsKeymap} from "@codemirror/autocomplete";
import {defaultKeymap, history, historyKeymap, indentWithTab} from "@codemirror/commands";
import {python} from "@codemirror/lang-python";
import {bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting} from "@codemirror/language";
import {EditorState, Prec} from "@codemirror/state";
import {drawSelection, EditorView, highlightSpecialChars, keymap, lineNumbers, type KeyBinding} from "@codemirror/view";
import {tags} from "@lezer/highlight";

// The colors come from style.css, so a change of theme needs no code here.
const colors = HighlightStyle.define([
  {tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: "var(--code-keyword)"},
  {tag: [tags.string, tags.special(tags.string), tags.character], color: "var(--code-string)"},
  {tag: [tags.number, tags.bool, tags.null, tags.self], color: "var(--code-number)"},
  {tag: [tags.comment, tags.docComment], color: "var(--code-comment)", fontStyle: "italic"},
  {tag: [tags.function(tags.variableName), tags.function(tags.definition(tags.variableName)), tags.className,
    tags.definition(tags.className)], color: "var(--code-name)"},
  {tag: tags.invalid, color: "var(--bad)"},
]);

const look = EditorView.theme({
  "&": {backgroundColor: "transparent", color: "var(--text)", fontSize: "14px"},
  "&.cm-focused": {outline: "none"},
  ".cm-content": {fontFamily: "var(--mono)", caretColor: "var(--text)", padding: "8px 0"},
  ".cm-scroller": {lineHeight: "1.5", overflow: "auto", maxHeight: "60vh"},
  ".cm-gutters": {backgroundColor: "var(--surface)", color: "var(--muted)", border: "none", fontFamily: "var(--mono)"},
  ".cm-cursor": {borderLeftColor: "var(--text)"},
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": {background: "var(--selection) !important"},
  "&.cm-focused .cm-matchingBracket": {backgroundColor: "var(--selection)", outline: "none"},
});

/** When the user types over a selection of several lines, Chromium's own editing sets a style attribute. The page's content
 * security policy refuses and reports this attribute, so the editor replaces the selection itself. */
const typeOver = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const {from, to} = view.state.selection.main, text = event.data;
    const lines = view.state.doc.lineAt(from).number !== view.state.doc.lineAt(to).number;
    if (event.inputType !== "insertText" || event.isComposing || !text || !lines) return false;
    const insert = () => view.state.update(view.state.replaceSelection(text), {userEvent: "input.type", scrollIntoView: true});
    if (!view.state.facet(EditorView.inputHandler).some(handle => handle(view, from, to, text, insert)))
      view.dispatch(insert());
    event.preventDefault();
    return true;
  },
});

export interface EditorEvents {
  keys: KeyBinding[];
  changed: () => void;
}

export function editor(parent: HTMLElement, code: string, events: EditorEvents): EditorView {
  return new EditorView({
    parent,
    state: EditorState.create({
      doc: code,
      extensions: [
        EditorView.cspNonce.of(document.querySelector<HTMLLinkElement>("#style")!.nonce),
        Prec.highest(keymap.of(events.keys)),
        lineNumbers(), history(), drawSelection(), highlightSpecialChars(), indentOnInput(), bracketMatching(),
        closeBrackets(), indentUnit.of("    "), python(), syntaxHighlighting(colors), look, typeOver,
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, indentWithTab]),
        // The editor can have the focus even without this attribute. Some tools look for the attribute.
        EditorView.contentAttributes.of({tabindex: "0", "aria-label": "Code. Press Escape to leave the editor", spellcheck: "false"}),
        EditorView.updateListener.of(update => { if (update.docChanged) events.changed(); }),
      ],
    }),
  });
}
