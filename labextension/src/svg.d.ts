/** The builder hands an imported svg over as text. */
declare module '*.svg' {
  const text: string;
  export default text;
}
