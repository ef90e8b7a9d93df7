/** Formats durations and times. */
import type { TranslationBundle } from '@jupyterlab/translation';

/** 0.52 → "0.5 s", 0.0021 → "2.1 ms", 75 → "1:15", 3725 → "1:02:05". */
export function duration(seconds: number): string {
  if (seconds < 0.1) {
    return `${(seconds * 1000).toFixed(1)} ms`;
  }
  if (seconds < 60) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = Math.floor(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const pad = (value: number): string => value.toString().padStart(2, '0');
  return hours > 0
    ? `${hours}:${pad(minutes)}:${pad(whole % 60)}`
    : `${minutes}:${pad(whole % 60)}`;
}

/** The time of day as HH:MM:SS, in every locale. */
export function clock(date: Date): string {
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map(part => part.toString().padStart(2, '0'))
    .join(':');
}

/** A date and time in the user's locale; the seconds since 1970 as the hub sends them. */
export function dateTime(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, {
    dateStyle: 'short',
    timeStyle: 'short'
  });
}

/** 45 → "just now", 300 → "5 min ago", 7200 → "2 h ago". */
export function ago(seconds: number, trans: TranslationBundle): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) {
    return trans.__('just now');
  }
  if (minutes < 60) {
    return trans.__('%1 min ago', minutes);
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48
    ? trans.__('%1 h ago', hours)
    : trans.__('%1 days ago', Math.floor(hours / 24));
}

/** 23068672 → "23.1 MB". */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.split('/').at(-1) ?? path;
}
