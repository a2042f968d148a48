/** What must be undone whatever ends the program: processes, folders, mounts, stopped clients. */

const undone = new Set<() => void>();

/** Has something undone when its scope ends, or when the program does. It must not wait for anything. */
export function undoAtEnd(undo: () => void): Disposable {
  undone.add(undo);
  return {
    [Symbol.dispose](): void {
      if (undone.delete(undo)) undo();
    },
  };
}

/** Runs a program to its end; whether it exists and succeeds. */
export function succeeds(command: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** Undoes all, the newest first. */
export function undoAll(): void {
  for (const undo of [...undone].reverse()) {
    undone.delete(undo);
    try {
      undo();
    } catch (error) {
      console.error(`soak: ${error}`); // the rest must be undone all the same
    }
  }
}

addEventListener("unload", undoAll);
