/** Handle the rejection of `Debouncer.invoke` when the debouncer is disposed before its time. */
export function ignoreDisposal(): void {
  // Nobody waits for the request any more.
}
