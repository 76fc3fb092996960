import '@fontsource-variable/inter/wght.css';
import './theme/tokens.css';
import './styles/base.css';
import './styles/header.css';
import './styles/panel.css';
import './styles/charts.css';
import './styles/rows.css';
import './styles/pages.css';
import './styles/print.css';

import { createRoot } from 'react-dom/client';
import { App } from './app';

createRoot(document.getElementById('root')!).render(<App />);
