/** The types of what the page uses of `preact-htm.js`. */
export type Drawn = object;
export type Ref<T> = { current: T };
type Effect = () => void | (() => void);

export function html(strings: TemplateStringsArray, ...values: unknown[]): Drawn;
export function render(drawn: Drawn, parent: Element): void;

/** The ref of an element: set before the first effect runs, so that effects need not ask for null. */
export function useRef<T = any>(): Ref<T>;
export function useRef<T>(initial: T): Ref<T>;
export function useState<T>(initial: T): [T, (value: T) => void];
export function useReducer<T>(reduce: (state: T) => T, initial: T): [T, () => void];
export function useMemo<T>(make: () => T, inputs: readonly unknown[]): T;
export function useEffect(effect: Effect, inputs: readonly unknown[]): void;
export function useLayoutEffect(effect: Effect, inputs: readonly unknown[]): void;
