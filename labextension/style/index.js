import './panel.css';
import './display.css';
import './lab.css';
