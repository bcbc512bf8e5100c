export const overTime = () => null;
